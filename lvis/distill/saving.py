"""Checkpoints and the averaged student, as a training goes on."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer

from lvis.cli.progress import console
from lvis.distill import checkpoints
from lvis.distill.checkpoints import RUN, SavingFailed
from lvis.distill.lora import adapters_alone, merged_state, save_adapters, trained
from lvis.distill.module import Distillation
from lvis.distill.parallel import agreed_any, whole
from lvis.distill.validation import Validation
from lvis.errors import Diverged, UserError
from lvis.weights import save_transformer


class Checkpointing(Callback):
    """Saves every `every` steps, after a validation that was the best so far, and at the end, whatever ended it.

    A checkpoint that cannot be written (a full disk) costs a warning, and the training goes on with those before it
    intact; `MOST_FAILURES` in a row, or the last one, end the run.

    Args:
        folder: of the checkpoints.
        export: folder of the student, as `lvis.weights.save_transformer` writes it.
        every: steps.
        keep: how many of the newest stay; the best stays besides.
        about: plain values for the student's lvis.json, kept in the checkpoint too.
        run: the settings that make it this run (`lvis.train.identity`), kept in the checkpoint.
        validation: whose student_psnr says which checkpoint is the best.

    Raises:
        UserError: nothing could be written for too long, or at the end.
    """

    MOST_FAILURES = 5

    def __init__(
        self,
        folder: Path,
        export: Path,
        every: int,
        keep: int,
        about: dict[str, Any],
        run: dict[str, Any],
        validation: Validation,
    ) -> None:
        self.folder, self.export, self.every, self.keep = folder, export, every, keep
        self.about, self.run, self.validation = about, run, validation
        self.best = checkpoints.best_score(folder)
        self.saved_step = self.first_step = -1
        self.failures = 0

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, module: Distillation, *_: Any
    ) -> None:
        if module.step % self.every == 0 or self._is_best(module):
            try:
                self.save(trainer, module)
                self.failures = 0
            except (SavingFailed, UserError) as error:
                self.failures += 1
                if self.failures >= self.MOST_FAILURES:
                    raise UserError(f"{error}; {self.failures} times in a row; stopping") from None
                console.print(
                    f"step {module.step}: {error}; the training goes on without this checkpoint",
                    highlight=False,
                    soft_wrap=True,
                )

    def on_train_end(self, trainer: Trainer, module: Distillation) -> None:  # type: ignore[override]
        if self.saved_step == module.step:
            return
        try:
            self.save(trainer, module)
        except SavingFailed as error:
            raise UserError(f"{error}; earlier checkpoints are unchanged") from None

    def on_exception(  # type: ignore[override]
        self, trainer: Trainer, module: Distillation, exception: BaseException
    ) -> None:
        """Save what an error would lose; a step that it broke off is done again, with its update of the student.

        The first process saves without the others, which may be gone. With FSDP2 it has not all rows, and the newest
        checkpoint stands.
        """
        several = trainer.world_size > 1
        if not isinstance(exception, Exception) or isinstance(exception, Diverged | SavingFailed):
            return
        if module.step in (self.first_step, self.saved_step) or trainer.global_rank:
            return
        if several and module.shared_out:
            return
        # the error is what ends the run, not what it makes of saving
        with suppress(SavingFailed, UserError, RuntimeError):
            self.save(trainer, module, alone=several)

    def on_train_start(self, trainer: Trainer, module: Distillation) -> None:  # type: ignore[override]
        self.first_step = module.step

    def save(self, trainer: Trainer, module: Distillation, alone: bool = False) -> None:
        """Save now; every process must call it, unless `alone`.

        Raises:
            SavingFailed, UserError: on every process, when one of them could not write.
        """
        path = checkpoints.save(
            self.folder,
            module.training_state().tensors(),
            module.counters,
            {**self.about, RUN: self.run},
            rank=trainer.global_rank,
            shared_out=module.shared_out,
            alone=alone,
        )
        if self._is_best(module):
            self.best = self.validation.latest["student_psnr"]
            if trainer.is_global_zero:
                checkpoints.note_best(self.folder, path.name, self.best)
        if trainer.is_global_zero:
            checkpoints.forget_old(self.folder, self.keep)
        self._export(trainer, module, alone)
        self.saved_step = module.step

    def _export(self, trainer: Trainer, module: Distillation, alone: bool) -> None:
        net = module.losses.student
        lora = module.settings.lora
        # putting shared-out tensors together takes every process
        averages = {
            name: whole(value)
            for name, value in (module.average.values or dict(trained(net))).items()
        }
        state = merged_state(net, averages, lora)
        failure = None
        if trainer.is_global_zero:
            about = {**self.about, "step": module.step, "student_step": module.student_step}
            try:
                save_transformer(net, self.export, about, state=state)
                if lora is not None and adapters_alone(net):
                    save_adapters(self.export, averages, lora)
            except UserError as error:
                failure = error
        if failure is not None if alone else agreed_any(failure is not None, module.device):
            raise failure or UserError("another process cannot write the student")

    def _is_best(self, module: Distillation) -> bool:
        fresh = self.validation.latest_step == module.step
        return fresh and self.validation.latest.get("student_psnr", self.best) > self.best
