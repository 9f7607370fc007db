"""The numbers of one distillation, checked once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from lvis.backbone.attention import CAUSAL_ATTENTION
from lvis.backbone.guidance import CONVENTIONS
from lvis.distill.objective import CRITIC_LOSSES, LIKELIHOOD_MEANS, LIKELIHOOD_NORMS, RAMPS
from lvis.errors import UserError
from lvis.solvers.one_step import PARAMETRIZATIONS
from lvis.solvers.student import INPUTS

FINAL_RATE = 0.05  # of the first, where the rate decays


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `conf/distill/*.yaml` sets (the files carry the reasons); steps are training steps.

    Raises:
        UserError: a value out of its range.
    """

    likelihood_weight: float
    likelihood_norm: str  # measurement | pseudo_inverse
    likelihood_mean: str  # arithmetic | geometric, over clips
    prior_weight: float  # lambda of Algorithm 1, line 22
    prior_on_masked_only: bool  # prior only where the operator's mask has a hole; others have none
    bridge: bool  # z_target = E(D'(z)) when the VAEs differ; false is the paper's ablation
    guidance_scale: float
    guidance_convention: str  # causvid | standard
    shift: float  # of the prior's and the critic's timesteps
    lowest_timestep: float  # both in [0, 1000]
    highest_timestep: float
    warmup_steps: int  # of the prior's weight, counted from the end of likelihood_only_steps
    ramp: str  # gate | linear
    likelihood_only_steps: int  # first steps without prior, each of which updates the student
    critic_start_step: (
        int | None
    )  # first step that updates the critic; None = likelihood_only_steps
    ratio: int  # critic updates to one student update
    critic_loss: str  # epsilon | flow
    student_timestep: float  # the one step's timestep, [0, 1000]
    parametrization: str  # flow | residual | x0
    student_input: str  # lift | pinv
    block_size: int  # latent frames a block
    student_learning_rate: float
    critic_learning_rate: float
    decay_steps: int | None  # the student's rate falls to a twentieth over these; None = fixed
    betas: tuple[float, float]
    weight_decay: float
    epsilon: float  # AdamW's
    clip_norm: float  # of each net's gradient
    ema_decay: float  # 0 = off
    use_text: bool  # prompts of the clips; false = the null prompt for every net
    prompt_dropout: float  # share of clips that get the null prompt
    negative_prompt: str  # of the teacher's guidance
    accumulate: int  # micro-batches a step
    autocast: str  # bf16 | none; parameters stay float32
    checkpoint_activations: bool
    bridge_block: int  # latent frames that the VAEs see at a time when checkpointing
    bridge_group: int  # blocks whose VAE states are recomputed together; 1 = all states are kept
    attention: str  # blocks | flex, of the student's block-causal pass
    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        self._check_choice("guidance_convention", CONVENTIONS)
        self._check_choice("ramp", RAMPS)
        self._check_choice("likelihood_norm", LIKELIHOOD_NORMS)
        self._check_choice("likelihood_mean", LIKELIHOOD_MEANS)
        self._check_choice("critic_loss", CRITIC_LOSSES)
        self._check_choice("parametrization", PARAMETRIZATIONS)
        self._check_choice("student_input", INPUTS)
        self._check_choice("attention", CAUSAL_ATTENTION)
        self._check_choice("autocast", ("bf16", "none"))
        for name in ("likelihood_weight", "prior_weight", "warmup_steps", "likelihood_only_steps"):
            self._check_range(name, 0, math.inf)
        for name in ("ratio", "block_size", "accumulate", "bridge_block", "bridge_group"):
            self._check_range(name, 1, math.inf)
        if self.decay_steps is not None:
            self._check_range("decay_steps", 1, math.inf)
        for name in (
            "student_learning_rate",
            "critic_learning_rate",
            "clip_norm",
            "shift",
            "epsilon",
        ):
            self._check_range(name, 1e-12, math.inf)
        for name in ("lowest_timestep", "highest_timestep", "student_timestep"):
            self._check_range(name, 0, 1000)
        for name in ("ema_decay", "prompt_dropout"):
            self._check_range(name, 0, 1)
        if self.lowest_timestep > self.highest_timestep:
            raise UserError(
                f"distill.lowest_timestep={self.lowest_timestep} is above distill.highest_timestep="
                f"{self.highest_timestep}: swap them"
            )
        if self.prior_weight > 0 and self.first_critic_step > self.likelihood_only_steps:
            raise UserError(
                f"distill.critic_start_step={self.critic_start_step} comes after the prior, which "
                f"starts at step {self.likelihood_only_steps} and needs a critic: lower it"
            )

    @property
    def first_critic_step(self) -> int:
        """The first step that updates the critic."""
        start = self.critic_start_step
        return self.likelihood_only_steps if start is None else start

    @classmethod
    def of(cls, values: Mapping[str, Any], **more: Any) -> "Settings":
        """From a composed configuration group, ignoring its keys that belong to others."""
        names = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in {**values, **more}.items() if key in names})

    def updates_student(self, step: int) -> bool:
        """Whether training step `step` (from 0) updates the student."""
        since = step - self.likelihood_only_steps
        return since < 0 or since % self.ratio == 0

    def updates_critic(self, step: int) -> bool:
        """Whether training step `step` (from 0) updates the critic; none without a prior."""
        return self.prior_weight > 0 and step >= self.first_critic_step

    def student_rate(self, step: int) -> float:
        """The student's learning rate at training step `step`: fixed (the paper), or a cosine."""
        if self.decay_steps is None:
            return self.student_learning_rate
        progress = min(1.0, step / self.decay_steps)
        falling = 0.5 * (1 + math.cos(math.pi * progress))
        return self.student_learning_rate * (FINAL_RATE + (1 - FINAL_RATE) * falling)

    def _check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value not in choices:
            raise UserError(f"distill.{name}={value} is not known: use one of {', '.join(choices)}")

    def _check_range(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if not (isinstance(value, int | float) and low <= value <= high):
            limits = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
            raise UserError(f"distill.{name}={value} is out of range: use {limits}")
