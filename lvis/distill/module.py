"""InstantViR's training loop (Algorithm 1 of the supplement) as a LightningModule."""

import math
from dataclasses import replace
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn

from lvis.distill import objective
from lvis.distill.checkpoints import Checkpoint
from lvis.distill.ema import Average
from lvis.distill.feeding import LOST
from lvis.distill.latent_cache import LatentCache, ShardLatents, check_fixed
from lvis.distill.losses import Losses, Measurement
from lvis.distill.optimiser import adamw, fuse
from lvis.distill.parallel import (
    agreed_any,
    gathered,
    mesh_of,
    shard,
    share_clips,
    syncing,
    whole,
    world_size,
)
from lvis.distill.randomness import Draws
from lvis.distill.state import TrainingState
from lvis.errors import Diverged, UserError

MOST_SKIPPED = 10


class Distillation(LightningModule):
    """Each training step updates the critic, each `ratio`-th the student before it.

    Args:
        losses: the nets, the operator and the settings.

    `step` counts training steps, `samples` the clips of all processes, `student_step` and
    `critic_step` the updates of each net. The trainer's own counter is not used: it counts whatever
    optimiser steps.
    """

    def __init__(self, losses: Losses) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.losses = losses
        self.settings = losses.settings
        self.step = self.student_step = self.critic_step = 0
        self.samples = 0
        self.skipped = (
            0  # updates in a row that were left out because their gradient was not finite
        )
        self.lost: str | None = None
        self.latent_cache: LatentCache | ShardLatents | None = None  # of z_in
        self.clip_latents: ShardLatents | None = None
        self.shared_out = False
        self.sharing = 1  # processes that share each clip
        self._pending: Checkpoint | None = None
        self._make_optimizers()

    def _make_optimizers(self) -> None:
        losses, settings = self.losses, self.settings
        self.average = Average(losses.student, settings.ema_decay)
        # made here and not in configure_optimizers, so that a checkpoint can be loaded before fit
        rates = settings.student_learning_rate, settings.critic_learning_rate
        self.student_optimizer = adamw(losses.student, rates[0], settings)
        self.critic_optimizer = adamw(losses.critic, rates[1], settings)

    def configure_model(self) -> None:
        """Share out student, critic and teacher over the processes, where the strategy does that."""
        nets = (self.losses.student, self.losses.critic, self.losses.teacher)
        if self.sharing > 1 and self._trainer is not None and nets[0].sequence is None:
            share_clips(nets, self.sharing)
        mesh = None if self._trainer is None else mesh_of(self._trainer.strategy)
        if mesh is None or self.shared_out:
            return
        for net in nets:
            shard(net, mesh, self.settings.autocast == "bf16")
        self.shared_out = True
        self._make_optimizers()
        if self._pending is not None:
            self.training_state().load(self._pending)
            self._pending = None

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        # the nets are where they will be trained now
        for optimizer in (self.student_optimizer, self.critic_optimizer):
            fuse(optimizer)
        return [self.student_optimizer, self.critic_optimizer]

    def on_train_batch_start(self, batch: dict[str, Any], batch_index: int) -> int | None:
        """Ends the training when the clips of any process have failed; `lost` then says why, on all."""
        if not agreed_any(LOST in batch, self.device):
            return None
        self.lost = next(filter(None, gathered(batch.get(LOST))))
        self.trainer.should_stop = True
        return -1

    def training_step(self, batch: dict[str, Any], batch_index: int) -> dict[str, float]:
        """One step on `accumulate` micro-batches: the student if it is its turn, then the critic.

        Args:
            batch: video (accumulate B, 3, T, H, W) in [-1, 1], absent where `clip_latents` stand for it, and
                prompt, a list of as many strings.

        Returns:
            Every loss term, the gradients' norms before clipping, and the prior's warm-up factor.

        Raises:
            Diverged: `MOST_SKIPPED` updates in a row had no finite gradient.
        """
        step = self.step
        count = len(batch["prompt"])
        first = self.global_rank // self.sharing * count
        clips = range(first, first + count)
        draws = Draws(self.settings.seed, step, clips)
        prior_factor = self._prior_factor(step)
        self.losses.know(batch["prompt"], batch.get("embedding", [None] * len(clips)))
        # from here on only the measurements are known
        measurements = self._measure(batch, draws)
        metrics = {"prior_factor": prior_factor}
        targets: list[Tensor] = []
        if self.settings.initialises(step):
            metrics |= self._initialise(measurements, draws)
        elif self.settings.updates_student(step):
            targets, student_metrics = self._update_student(
                measurements, draws, self.settings.prior_weight * prior_factor
            )
            metrics |= student_metrics
        if self.settings.updates_critic(step):
            targets = targets or [self.losses.critic_target(part) for part in measurements]
            metrics |= self._update_critic(measurements, targets, draws)
        self.step += 1
        self.samples += count * world_size() // self.sharing
        return metrics

    def _prior_factor(self, step: int) -> float:
        since = step - self.settings.initial_steps - self.settings.likelihood_only_steps
        if since < 0:
            return 0.0
        return objective.prior_ramp(since, self.settings.warmup_steps, self.settings.ramp)

    def _measure(self, batch: dict[str, Any], draws: Draws) -> list[Measurement]:
        settings, clips, count = self.settings, batch.get("video"), len(batch["prompt"])
        if count % settings.accumulate:
            raise UserError(
                f"a batch of {count} clips does not divide by distill.accumulate="
                f"{settings.accumulate}: make it a multiple"
            )
        chances = torch.cat([torch.rand(1, generator=one) for one in draws["prompt"]])
        dropped = chances < settings.prompt_dropout
        kept = [
            "" if drop else prompt for prompt, drop in zip(batch["prompt"], dropped, strict=True)
        ]
        known = self.latent_cache is not None or self.clip_latents is not None
        numbers: list[int] = batch["index"].tolist() if known else []
        size = count // settings.accumulate
        measurements = []
        for begin, drawn in zip(range(0, count, size), self._parts(draws), strict=True):
            part = slice(begin, begin + size)
            latents = None
            if self.clip_latents is not None:
                latents = self.clip_latents.latents(numbers[part]).to(self.device)
            video = None if clips is None else clips[part]
            measurement = self.losses.measure(video, kept[part], drawn["measurement"], latents)
            if self.latent_cache is not None:
                measurement = self._with_z_in(measurement, numbers[part])
            measurements.append(measurement)
        return measurements

    def _with_z_in(self, measurement: Measurement, numbers: list[int]) -> Measurement:
        """A measurement with its z_in from the cache."""
        assert self.latent_cache is not None
        check_fixed(self.losses.operator, measurement.operator)
        z_in = self.latent_cache.latents(numbers, lambda: self.losses.student_input(measurement))
        return replace(measurement, z_in=z_in.to(measurement.y.device))

    def _parts(self, draws: Draws) -> list[Draws]:
        """The draws of each micro-batch."""
        size = len(draws.clips) // self.settings.accumulate
        return [draws.part(begin, begin + size) for begin in range(0, len(draws.clips), size)]

    def _update_student(
        self, measurements: list[Measurement], draws: Draws, prior_weight: float
    ) -> tuple[list[Tensor], dict[str, float]]:
        """phi <- phi - eta_1 grad (L_data + lambda L_prior) (line 22)."""
        targets, parts = [], []
        for measurement, drawn in zip(measurements, self._parts(draws), strict=True):
            terms, target = self.losses.student_terms(
                measurement, drawn, prior_weight, self.settings.updates_critic(self.step)
            )
            last = measurement is measurements[-1]
            with syncing(self.trainer.strategy, last):
                self.manual_backward(terms["total"] / len(measurements))
            parts.append({name: value.detach() for name, value in terms.items()})
            if target is not None:
                targets.append(target)
        metrics = {name: _mean([part[name] for part in parts]) for name in parts[0]}
        self._descend_student(metrics)
        return targets, metrics

    def _initialise(self, measurements: list[Measurement], draws: Draws) -> dict[str, float]:
        """One step of the student towards the teacher's own trajectories."""
        values = []
        for measurement, drawn in zip(measurements, self._parts(draws), strict=True):
            loss = self.losses.initial_term(measurement, drawn)
            with syncing(self.trainer.strategy, measurement is measurements[-1]):
                self.manual_backward(loss / len(measurements))
            values.append(loss.detach())
        metrics = {"initial": _mean(values), "total": _mean(values)}
        self._descend_student(metrics)
        return metrics

    def _descend_student(self, metrics: dict[str, float]) -> None:
        """An update of the student, at this step's rate, and of its average; noted in `metrics`."""
        rate = self.settings.student_rate(self.step)
        for group in self.student_optimizer.param_groups:
            group["lr"] = rate
        metrics["student_learning_rate"] = rate
        metrics["student_gradient"] = self._descend(self.student_optimizer, metrics["total"])
        self.student_step += 1
        self.average.update()

    def _update_critic(
        self, measurements: list[Measurement], targets: list[Tensor], draws: Draws
    ) -> dict[str, float]:
        """The critic learns the distribution of the student's noised outputs (line 23)."""
        values = []
        for measurement, target, drawn in zip(
            measurements, targets, self._parts(draws), strict=True
        ):
            loss = self.losses.critic_term(target, measurement.prompts, drawn)
            with syncing(self.trainer.strategy, measurement is measurements[-1]):
                self.manual_backward(loss / len(measurements))
            values.append(loss.detach())
        self.critic_step += 1
        value = _mean(values)
        rate = self.critic_optimizer.param_groups[0]["lr"]
        gradient = self._descend(self.critic_optimizer, value)
        return {"critic": value, "critic_gradient": gradient, "critic_learning_rate": rate}

    def _descend(self, optimizer: torch.optim.Optimizer, loss: float = 0.0) -> float:
        """Clip and step; returns the gradient's norm before clipping, over all processes.

        Where the loss or the norm is not finite on any process, none of them steps.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = whole(nn.utils.clip_grad_norm_(parameters, self.settings.clip_norm))
        finite = math.isfinite(loss) and bool(torch.isfinite(norm))
        if agreed_any(not finite, norm.device):
            self.skipped += 1
        else:
            optimizer.step()
            self.skipped = 0
        optimizer.zero_grad(set_to_none=True)
        if self.skipped >= MOST_SKIPPED:
            raise Diverged(
                f"loss or gradient was not finite {self.skipped} updates in a row, up to step "
                f"{self.step}: lower the learning rates, or set distill.autocast=none"
            )
        return float(norm)

    @torch.no_grad()
    def restore(self, measurement: Measurement) -> Tensor:
        """D'(q(E'(y))) with the averaged student, (B, 3, T, H, W) in [-1, 1]."""
        losses = self.losses
        with self.average.applied():
            if measurement.operator.space == "latent":
                z_in = losses.student_input(measurement)
                return losses.reconstruct(losses.predict(z_in, measurement.prompts))
            x_hat = losses.restore(measurement.y, measurement.operator, measurement.prompts)
        return x_hat.clamp(-1, 1)

    @property
    def counters(self) -> dict[str, int]:
        """Training steps, clips of all processes, the updates of each net, and those left out in a row."""
        return {
            "step": self.step,
            "samples": self.samples,
            "student_step": self.student_step,
            "critic_step": self.critic_step,
            "skipped": self.skipped,
        }

    def training_state(self) -> TrainingState:
        """Everything that training changes beside the counters; no frozen net is in it."""
        nets: dict[str, nn.Module] = {"student": self.losses.student, "critic": self.losses.critic}
        optimizers = {"student": self.student_optimizer, "critic": self.critic_optimizer}
        return TrainingState(nets, self.average, optimizers)

    def resume(self, checkpoint: Checkpoint, later: bool = False) -> None:
        """Continue from a checkpoint; rates stay those of the settings.

        Args:
            later: load the tensors when the nets have been sharded, in `configure_model`.

        Raises:
            UserError: it belongs to another run.
        """
        for name in ("step", "student_step", "critic_step", "skipped"):
            setattr(self, name, checkpoint.counters[name])
        self.samples = checkpoint.counters.get("samples", 0)
        if later:
            self._pending = checkpoint
        else:
            self.training_state().load(checkpoint)

    def return_to(self, checkpoint: Checkpoint) -> None:
        """Take the nets and optimisers of a checkpoint and go on counting: other clips come next."""
        self.training_state().load(checkpoint)


def _mean(values: list[Tensor]) -> float:
    return float(torch.stack(values).mean())
