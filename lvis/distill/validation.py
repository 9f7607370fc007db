"""PSNR and SSIM on held-out clips while training, and clips to look at."""

from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor

from lvis.cli.progress import console
from lvis.distill.module import Distillation
from lvis.distill.parallel import agreed_any, agreed_mean
from lvis.distill.randomness import generator_for
from lvis.distill.records import Journal, write_side_by_side
from lvis.errors import is_out_of_memory
from lvis.metrics import psnr_frames, ssim_frames

CLIPS = "clips"


class Validation(Callback):
    """PSNR and SSIM on the held-out clips every `every` steps, and the first of them side by side.

    What is compared: the student (averaged weights), D'(E'(y)) and the VAE's ceiling D'(E'(x)). The
    clips show the measurement, D'(E'(y)), the student, D'(E'(x)), x.
    """

    def __init__(
        self, journal: Journal, folder: Path, every: int, clips: int, max_steps: int
    ) -> None:
        self.max_steps = max_steps
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
        # a run that a signal ended has seconds left, and saving needs them
        complete = module.step >= self.max_steps
        if self.every and complete and self.latest_step != module.step:
            self.run(trainer, module)

    def run(self, trainer: Trainer, module: Distillation) -> dict[str, float]:
        """Validate now; the metrics' means over the clips of all processes, also kept in `latest`.

        Where a process runs out of memory, this validation is left out and the training goes on.
        """
        failure, scores = None, {}
        try:
            scores = self._score(trainer, module)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            failure = error
        if agreed_any(failure is not None, module.device):
            console.print(
                f"step {module.step}: validation ran out of memory and was left out; lower "
                "data.val_clips or distill.size, or set trainer.validate_every=0",
                highlight=False,
                soft_wrap=True,
            )
            self.latest_step = module.step
            return {}
        if not scores:
            return {}
        # sums over the clips of each process, which may have fewer than others or none of its own
        sums = agreed_mean(scores, module.device)
        clips = sums.pop(CLIPS)
        means = {name: total / clips for name, total in sums.items()}
        if not self._fixed:
            self._fixed = {k: v for k, v in means.items() if not k.startswith("student")}
        self.latest, self.latest_step = means | self._fixed, module.step
        self.journal.add(module.step, "validation", self.latest)
        return self.latest

    @torch.no_grad()
    def _score(self, trainer: Trainer, module: Distillation) -> dict[str, float]:
        loader = trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]
        scores: dict[str, float] = {}
        for number, batch in enumerate(loader):
            clean = batch["video"].to(module.device)
            ranks, rank = (n // module.sharing for n in (trainer.world_size, trainer.global_rank))
            place = number * ranks + rank
            generator = generator_for(module.settings.seed, place, 0, "validation")
            measurement = module.losses.measure(clean, batch["prompt"], generator)
            student = module.restore(measurement)
            videos = {"student": student}
            shown = trainer.is_global_zero and number < self.clips
            if shown or not self._fixed:
                videos["baseline"] = module.losses.reconstruct(
                    module.losses.student_input(measurement)
                )
                videos["ceiling"] = module.losses.reconstruct(module.losses.encode(clean))
            # processes that have no clip left repeat one: sharded nets need them all
            counts = not batch.get("repeat", False)
            scores[CLIPS] = scores.get(CLIPS, 0) + counts
            # every process must score the same videos: the means are over all of them
            for name in ("student",) if self._fixed else tuple(videos):
                _add(scores, name, videos[name], clean, counts)
            if shown:
                latent = measurement.operator.space == "latent"
                seen = videos["baseline"] if latent else measurement.operator.lift(measurement.y)
                self._show(
                    module.step,
                    number,
                    [seen, videos["baseline"], student, videos["ceiling"], clean],
                )
        return scores

    def _show(self, step: int, number: int, videos: list[Tensor]) -> None:
        name = f"step_{step:08d}_clip_{number}"
        clip, picture = write_side_by_side([v[:1].float().cpu() for v in videos], self.folder, name)
        self.journal.add_clip(step, f"clip_{number}", clip, picture)


def _add(scores: dict[str, float], name: str, video: Tensor, clean: Tensor, counts: bool) -> None:
    for metric, frames in (("psnr", psnr_frames), ("ssim", ssim_frames)):
        value = float(frames(video, clean).mean()) if counts else 0.0
        scores[f"{name}_{metric}"] = scores.get(f"{name}_{metric}", 0.0) + value
