"""What happens between training steps: progress and metrics, stopping, going back after a spike.

All of it goes by the module's own step counter (see `Distillation`).
"""

import statistics
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer

from lvis.backbone import PromptCache
from lvis.cli.progress import console, progress_bar
from lvis.distill import checkpoints
from lvis.distill.module import Distillation
from lvis.distill.parallel import agreed_any, agreed_mean
from lvis.distill.preemption import Preemption
from lvis.distill.records import Journal
from lvis.errors import Diverged


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
        clips_per_second = len(batch["prompt"]) * trainer.world_size / module.sharing / seconds
        timing = {"seconds": seconds, "clips_per_second": clips_per_second}
        # what the shards' loader has counted so far: clips and bad ones, its own rate, seconds waited for it
        timing |= {f"loader_{name}": value for name, value in batch.get("loader", {}).items()}
        for name, value in {**outputs, **timing}.items():
            self.values.setdefault(name, []).append(float(value))
        if module.step % self.every and module.step != self.max_steps:
            return
        metrics = {name: sum(values) / len(values) for name, values in self.values.items()}
        metrics = agreed_mean(metrics, module.device)
        self.values = {}
        self.journal.add(module.step, "train", metrics)
        if trainer.is_global_zero and self.bar.disable:
            console.print(self._line(module.step, metrics), highlight=False, soft_wrap=True)

    def _line(self, step: int, metrics: dict[str, float]) -> str:
        rate = (step - self.first_step) / (self.last - self.began)
        left = (self.max_steps - step) / rate if rate else float("nan")
        names = ("initial", "likelihood", "prior", "critic")
        terms = " ".join(f"{name} {metrics[name]:.4g}" for name in names if name in metrics)
        bad = metrics.get("loader_bad")
        terms += f"  {bad:.0f} bad clips left out" if bad else ""
        return f"step {step}/{self.max_steps}  {terms}  {rate:.2f} step/s  {left / 60:.1f} min left"

    def close(self) -> None:
        """Take the bar off the screen; safe to call at any time."""
        if hasattr(self, "bar"):
            self.bar.stop()


class PromptsFirst(Callback):
    """Has the first process of each node encode the prompts that every step needs, while the others wait.

    Else every process would load the text encoder, 11.4 GB for Wan's, and keep it.
    """

    def on_fit_start(self, trainer: Trainer, module: Distillation) -> None:  # type: ignore[override]
        cache = module.losses.encode_text
        if not isinstance(cache, PromptCache):
            return
        if trainer.local_rank == 0:
            cache.precompute([module.settings.negative_prompt])
        trainer.strategy.barrier()


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


class SpikeGuard(Callback):
    """Goes back to the newest checkpoint when the likelihood leaps; the clips go on.

    Args:
        folder: of the checkpoints.
        factor: a leap is this many times the median of the last `WINDOW` student updates.
        most: times to go back; the next leap ends the run.

    Raises:
        Diverged: more leaps than `most`.
    """

    WINDOW, FEWEST = 50, 10

    def __init__(self, folder: Path, factor: float, most: int) -> None:
        self.folder, self.factor, self.most = folder, factor, most
        self.times = 0
        self.values: deque[float] = deque(maxlen=self.WINDOW)

    def on_train_batch_end(  # type: ignore[override]
        self,
        trainer: Trainer,
        module: Distillation,
        outputs: Mapping[str, Any],
        batch: dict[str, Any],
        batch_index: int,
    ) -> None:
        if "likelihood" not in outputs:
            return
        value = agreed_mean({"likelihood": outputs["likelihood"]}, module.device)["likelihood"]
        known = len(self.values) >= self.FEWEST
        leapt = known and not value <= self.factor * statistics.median(self.values)
        if not agreed_any(leapt, module.device):
            self.values.append(value)
            return
        self.times += 1
        if self.times > self.most:
            raise Diverged(
                f"the likelihood jumped to {value:.4g} at step {module.step}, for the {self.times}th "
                "time: lower the learning rates, or raise trainer.spike_factor"
            )
        checkpoint = checkpoints.load_newest(self.folder)
        if checkpoint is None:
            return
        module.return_to(checkpoint)
        console.print(
            f"step {module.step}: the likelihood jumped to {value:.4g}; went back to the weights of "
            f"step {checkpoint.counters['step']}",
            highlight=False,
            soft_wrap=True,
        )
