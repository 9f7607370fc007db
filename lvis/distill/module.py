"""InstantViR's training loop (Algorithm 1 of the supplement) as a LightningModule."""

from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn

from lvis.distill import objective
from lvis.distill.ema import Average
from lvis.distill.losses import Losses, Measurement
from lvis.distill.randomness import Draws, draws_of
from lvis.errors import UserError

MOST_SKIPPED = 10


class Distillation(LightningModule):
    """Each training step updates the critic, each `ratio`-th the student before it.

    Args:
        losses: the nets, the operator and the settings.

    `step` counts training steps, `student_step` and `critic_step` the updates of each net. The
    trainer's own counter is not used: it counts whatever optimiser steps.
    """

    def __init__(self, losses: Losses) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.losses = losses
        self.settings = losses.settings
        self.step = self.student_step = self.critic_step = 0
        self.skipped = (
            0  # updates in a row that were left out because their gradient was not finite
        )
        self.average = Average(losses.student, self.settings.ema_decay)
        # made here and not in configure_optimizers, so that a checkpoint can be loaded before fit
        self.student_optimizer = self._adamw(losses.student, self.settings.student_learning_rate)
        self.critic_optimizer = self._adamw(losses.critic, self.settings.critic_learning_rate)

    def _adamw(self, net: nn.Module, learning_rate: float) -> torch.optim.AdamW:
        betas, decay = self.settings.betas, self.settings.weight_decay
        return torch.optim.AdamW(
            net.parameters(), lr=learning_rate, betas=betas, weight_decay=decay
        )

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [self.student_optimizer, self.critic_optimizer]

    def training_step(self, batch: dict[str, Any], batch_index: int) -> dict[str, float]:
        """One step on `accumulate` micro-batches: the student if it is its turn, then the critic.

        Args:
            batch: video (accumulate B, 3, T, H, W) in [-1, 1], and prompt, a list of as many
                strings.

        Returns:
            Every loss term, the gradients' norms before clipping, and the prior's warm-up factor.

        Raises:
            UserError: `MOST_SKIPPED` updates in a row had no finite gradient.
        """
        step = self.step
        draws = draws_of(self.settings.seed, step, self.global_rank)
        prior_factor = self._prior_factor(step)
        # from here on only the measurements are known
        measurements = self._measure(batch, draws)
        metrics = {"prior_factor": prior_factor}
        targets: list[Tensor] = []
        if self.settings.updates_student(step):
            targets, student_metrics = self._update_student(
                measurements, draws, self.settings.prior_weight * prior_factor
            )
            metrics |= student_metrics
        if self.settings.updates_critic(step):
            targets = targets or [self.losses.critic_target(part) for part in measurements]
            metrics |= self._update_critic(measurements, targets, draws)
        self.step += 1
        return metrics

    def _prior_factor(self, step: int) -> float:
        since = step - self.settings.likelihood_only_steps
        if since < 0:
            return 0.0
        return objective.prior_ramp(since, self.settings.warmup_steps, self.settings.ramp)

    def _measure(self, batch: dict[str, Any], draws: Draws) -> list[Measurement]:
        settings, clips = self.settings, batch["video"]
        if len(clips) % settings.accumulate:
            raise UserError(
                f"a batch of {len(clips)} clips does not divide by distill.accumulate="
                f"{settings.accumulate}: make it a multiple"
            )
        dropped = torch.rand(len(clips), generator=draws["prompt"]) < settings.prompt_dropout
        kept = [
            "" if drop else prompt for prompt, drop in zip(batch["prompt"], dropped, strict=True)
        ]
        size = len(clips) // settings.accumulate
        return [
            self.losses.measure(
                clips[begin : begin + size], kept[begin : begin + size], draws["measurement"]
            )
            for begin in range(0, len(clips), size)
        ]

    def _update_student(
        self, measurements: list[Measurement], draws: Draws, prior_weight: float
    ) -> tuple[list[Tensor], dict[str, float]]:
        """phi <- phi - eta_1 grad (L_data + lambda L_prior) (line 22)."""
        targets, parts = [], []
        for measurement in measurements:
            terms, target = self.losses.student_terms(
                measurement, draws, prior_weight, self.settings.updates_critic(self.step)
            )
            self.manual_backward(terms["total"] / len(measurements))
            parts.append({name: value.detach() for name, value in terms.items()})
            if target is not None:
                targets.append(target)
        metrics = {name: _mean([part[name] for part in parts]) for name in parts[0]}
        for group in self.student_optimizer.param_groups:
            group["lr"] = self.settings.student_rate(self.step)
        metrics["student_gradient"] = self._descend(self.student_optimizer)
        self.student_step += 1
        self.average.update()
        return targets, metrics

    def _update_critic(
        self, measurements: list[Measurement], targets: list[Tensor], draws: Draws
    ) -> dict[str, float]:
        """The critic learns the distribution of the student's noised outputs (line 23)."""
        values = []
        for measurement, target in zip(measurements, targets, strict=True):
            loss = self.losses.critic_term(target, measurement.prompts, draws)
            self.manual_backward(loss / len(measurements))
            values.append(loss.detach())
        self.critic_step += 1
        return {"critic": _mean(values), "critic_gradient": self._descend(self.critic_optimizer)}

    def _descend(self, optimizer: torch.optim.Optimizer) -> float:
        """Clip and step; returns the gradient's norm before clipping. Without a finite norm, no
        step."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.settings.clip_norm)
        if bool(torch.isfinite(norm)):
            optimizer.step()
            self.skipped = 0
        else:
            self.skipped += 1
        optimizer.zero_grad(set_to_none=True)
        if self.skipped >= MOST_SKIPPED:
            raise UserError(
                f"the gradient was not finite {self.skipped} updates in a row, up to step "
                f"{self.step}: lower the learning rates, or set distill.autocast=none"
            )
        return float(norm)

    @torch.no_grad()
    def restore(self, measurement: Measurement) -> Tensor:
        """D'(q(E'(y))) with the averaged student, (B, 3, T, H, W) in [-1, 1]."""
        losses = self.losses
        with self.average.applied():
            z_hat = losses.predict(losses.student_input(measurement), measurement.prompts)
        return losses.reconstruct(z_hat)

    def training_state(self) -> dict[str, Any]:
        """Everything that training changes; loadable with weights_only=True. No frozen net is in
        it."""
        return {
            "step": self.step,
            "student_step": self.student_step,
            "critic_step": self.critic_step,
            "skipped": self.skipped,
            "student": self.losses.student.state_dict(),
            "critic": self.losses.critic.state_dict(),
            "average": self.average.state_dict(),
            "student_optimizer": self.student_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
        }

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Continue from a `training_state`; rates stay those of the settings."""
        self.step, self.skipped = state["step"], state["skipped"]
        self.student_step, self.critic_step = state["student_step"], state["critic_step"]
        self.losses.student.load_state_dict(state["student"])
        self.losses.critic.load_state_dict(state["critic"])
        self.average.load_state_dict(state["average"])
        for name in ("student_optimizer", "critic_optimizer"):
            optimizer = getattr(self, name)
            present = [
                {k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups
            ]
            optimizer.load_state_dict(state[name])
            for group, values in zip(optimizer.param_groups, present, strict=True):
                group.update(values)


def _mean(values: list[Tensor]) -> float:
    return float(torch.stack(values).mean())
