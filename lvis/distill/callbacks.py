"""What happens between training steps: progress, metrics, validation, checkpoints, stopping.

All of it goes by the module's own step counter (see `Distillation`).
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor

from lvis.distill import checkpoints
from lvis.distill.module import Distillation
from lvis.distill.preemption import Preemption
from lvis.distill.randomness import generator_for
from lvis.distill.records import Journal, write_side_by_side
from lvis.metrics import psnr_frames, ssim_frames
from lvis.progress import console, progress_bar
from lvis.weights import save_transformer


class Reporting(Callback):
    """A progress bar, or lines where there is no terminal; the metrics' means every `every` steps.

    Means, because not every step updates the student and one alone says little.
    """

    def __init__(self, journal: Journal, max_steps: int, every: int) -> None:
        self.journal, self.max_steps, self.every = journal, max_steps, every
        self.values: dict[str, list[float]] = {}

    def on_train_start(self, trainer: Trainer, module: Distillation) -> None:  # type: ignore[override]
        self.bar = progress_bar("step")
        self.task = self.bar.add_task("training", total=self.max_steps, completed=module.step)
        self.began = self.last = time.perf_counter()
        self.first_step = module.step
        if trainer.is_global_zero:
            self.bar.start()

    def on_train_batch_end(  # type: ignore[override]
        self,
        trainer: Trainer,
        module: Distillation,
        outputs: Mapping[str, Any],
        batch: dict[str, Any],
        batch_index: int,
    ) -> None:
        now = time.perf_counter()
        seconds, self.last = now - self.last, now
        self.bar.update(self.task, completed=module.step)
        clips_per_second = len(batch["video"]) * trainer.world_size / seconds
        timing = {"seconds": seconds, "clips_per_second": clips_per_second}
        for name, value in {**outputs, **timing}.items():
            self.values.setdefault(name, []).append(float(value))
        if module.step % self.every and module.step != self.max_steps:
            return
        metrics = {name: sum(values) / len(values) for name, values in self.values.items()}
        self.values = {}
        self.journal.add(module.step, "train", metrics)
        if trainer.is_global_zero and self.bar.disable:
            console.print(self._line(module.step, metrics), highlight=False, soft_wrap=True)

    def _line(self, step: int, metrics: dict[str, float]) -> str:
        rate = (step - self.first_step) / (self.last - self.began)
        left = (self.max_steps - step) / rate if rate else float("nan")
        names = ("likelihood", "prior", "critic")
        terms = " ".join(f"{name} {metrics[name]:.4g}" for name in names if name in metrics)
        return f"step {step}/{self.max_steps}  {terms}  {rate:.2f} step/s  {left / 60:.1f} min left"

    def close(self) -> None:
        """Take the bar off the screen; safe to call at any time."""
        if hasattr(self, "bar"):
            self.bar.stop()


class Validation(Callback):
    """PSNR and SSIM on the held-out clips every `every` steps, and the first of them side by side.

    What is compared: the student (averaged weights), D'(E'(y)) and the VAE's ceiling D'(E'(x)). The
    clips show the measurement, D'(E'(y)), the student, D'(E'(x)), x.
    """

    def __init__(self, journal: Journal, folder: Path, every: int, clips: int) -> None:
        self.journal, self.folder, self.every, self.clips = journal, folder, every, clips
        self.latest: dict[str, float] = {}
        self.latest_step = -1
        self._fixed: dict[str, float] = {}  # what does not change while the student trains

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, module: Distillation, *_: Any
    ) -> None:
        if self.every and module.step % self.every == 0:
            self.run(trainer, module)

    def on_train_end(self, trainer: Trainer, module: Distillation) -> None:  # type: ignore[override]
        if self.every and self.latest_step != module.step:
            self.run(trainer, module)

    @torch.no_grad()
    def run(self, trainer: Trainer, module: Distillation) -> dict[str, float]:
        """Validate now; the metrics' means over the clips, also kept in `latest`."""
        loader = trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]
        scores: dict[str, list[float]] = {}
        for number, batch in enumerate(loader):
            clean = batch["video"].to(module.device)
            generator = generator_for(module.settings.seed, number, 0, "validation")
            measurement = module.losses.measure(clean, batch["prompt"], generator)
            student = module.restore(measurement)
            videos = {"student": student}
            shown = trainer.is_global_zero and number < self.clips
            if shown or not self._fixed:
                videos["baseline"] = module.losses.reconstruct(
                    module.losses.student_input(measurement)
                )
                videos["ceiling"] = module.losses.reconstruct(
                    module.losses.student_vae.encode(clean)
                )
            # every process must score the same videos: the means below are over all of them
            for name in ("student",) if self._fixed else tuple(videos):
                _note(scores, name, videos[name], clean)
            if shown:
                latent = measurement.operator.space == "latent"
                seen = videos["baseline"] if latent else measurement.operator.lift(measurement.y)
                self._show(
                    module.step,
                    number,
                    [seen, videos["baseline"], student, videos["ceiling"], clean],
                )
        if not scores:
            return {}
        means = {
            name: float(trainer.strategy.reduce(torch.tensor(values).mean().to(module.device)))
            for name, values in scores.items()
        }
        if not self._fixed:
            self._fixed = {k: v for k, v in means.items() if not k.startswith("student")}
        self.latest, self.latest_step = means | self._fixed, module.step
        self.journal.add(module.step, "validation", self.latest)
        return self.latest

    def _show(self, step: int, number: int, videos: list[Tensor]) -> None:
        name = f"step_{step:08d}_clip_{number}"
        clip, picture = write_side_by_side([v[:1].float().cpu() for v in videos], self.folder, name)
        self.journal.add_clip(step, f"clip_{number}", clip, picture)


def _note(scores: dict[str, list[float]], name: str, video: Tensor, clean: Tensor) -> None:
    scores.setdefault(f"{name}_psnr", []).append(float(psnr_frames(video, clean).mean()))
    scores.setdefault(f"{name}_ssim", []).append(float(ssim_frames(video, clean).mean()))


class Checkpointing(Callback):
    """A checkpoint and the averaged student every `every` steps and at the end, whatever ended it.

    Args:
        folder: of the checkpoints.
        export: folder of the student, as `lvis.weights.save_transformer` writes it.
        about: plain values for the student's lvis.json, kept in the checkpoint too.
    """

    def __init__(self, folder: Path, export: Path, every: int, about: dict[str, Any]) -> None:
        self.folder, self.export, self.every, self.about = folder, export, every, about
        self.saved_step = -1

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, module: Distillation, *_: Any
    ) -> None:
        if self.every and module.step % self.every == 0:
            self.save(trainer, module)

    def on_train_end(self, trainer: Trainer, module: Distillation) -> None:  # type: ignore[override]
        if self.saved_step != module.step:
            self.save(trainer, module)

    def save(self, trainer: Trainer, module: Distillation) -> None:
        """Save now; every process must call it."""
        if trainer.is_global_zero:
            checkpoints.save(self.folder, {**module.training_state(), "about": self.about})
            with module.average.applied():
                about = {**self.about, "step": module.step, "student_step": module.student_step}
                save_transformer(module.losses.student, self.export, about)
        trainer.strategy.barrier()
        self.saved_step = module.step


class Stopping(Callback):
    """Ends the training after `max_steps`, or at the first step boundary after a signal."""

    def __init__(self, max_steps: int, preemption: Preemption) -> None:
        self.max_steps, self.preemption = max_steps, preemption

    def on_train_start(self, trainer: Trainer, module: Distillation) -> None:  # type: ignore[override]
        # Lightning has just put its own handlers in front, which raise in the middle of a step
        self.preemption.listen()

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, module: Distillation, *_: Any
    ) -> None:
        if self.preemption.asked(module.device) or module.step >= self.max_steps:
            trainer.should_stop = True
