"""The numbers of one distillation, checked once."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from lvis.backbone.attention import CAUSAL_ATTENTION
from lvis.backbone.guidance import CONVENTIONS
from lvis.cli.schema import (
    Count,
    CountOrNone,
    NotNegative,
    Number,
    Positive,
    Share,
    misfit,
)
from lvis.distill.initialisation import INITIALISATIONS
from lvis.distill.lora import Lora
from lvis.distill.objective import CRITIC_LOSSES, LIKELIHOOD_MEANS, LIKELIHOOD_NORMS, RAMPS
from lvis.distill.self_supervision import TERMS
from lvis.errors import UserError
from lvis.solvers.consistency import CHOICES as CONSISTENCIES
from lvis.solvers.one_step import PARAMETRIZATIONS
from lvis.solvers.student import X_HAT, X_INIT

Timestep = Annotated[Number, Field(ge=0, le=1000)]
Decay = Annotated[Number, Field(ge=0, lt=1)]  # at 1 an average keeps what it began with

CHOICES = {
    "guidance_convention": CONVENTIONS,
    "ramp": RAMPS,
    "likelihood_norm": LIKELIHOOD_NORMS,
    "likelihood_mean": LIKELIHOOD_MEANS,
    "critic_loss": CRITIC_LOSSES,
    "parametrization": PARAMETRIZATIONS,
    "x_init": X_INIT,
    "x_hat": X_HAT,
    "consistency": CONSISTENCIES,
    "self_supervision": TERMS,
    "attention": CAUSAL_ATTENTION,
    "initialisation": INITIALISATIONS,
    "autocast": ("bf16", "none"),
}
FINAL_RATE = 0.05  # of the first, where the rate decays


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `conf/distill/*.yaml` sets (the files carry the reasons); steps are training steps.

    Raises:
        UserError: a value out of its range.
    """

    likelihood_weight: NotNegative
    likelihood_norm: str  # measurement | pseudo_inverse
    likelihood_mean: str  # arithmetic | geometric, over clips
    prior_weight: NotNegative  # lambda of Algorithm 1, line 22
    prior_on_masked_only: bool  # prior only where the operator's mask has a hole; others have none
    bridge: bool  # z_target = E(D'(z)) when the VAEs differ; false is the paper's ablation
    guidance_scale: Number
    guidance_convention: str  # causvid | standard
    shift: Positive  # of the prior's and the critic's timesteps
    lowest_timestep: Timestep  # both in [0, 1000]
    highest_timestep: Timestep
    warmup_steps: (
        CountOrNone  # of the prior's weight, counted from the end of likelihood_only_steps
    )
    ramp: str  # gate | linear
    likelihood_only_steps: (
        CountOrNone  # first steps without prior, each of which updates the student
    )
    critic_start_step: (
        CountOrNone | None
    )  # first step that updates the critic; None = likelihood_only_steps
    ratio: Count  # critic updates to one student update
    critic_loss: str  # epsilon | flow
    timestep: Timestep  # the one step's timestep, [0, 1000]
    parametrization: str  # flow | residual | x0
    x_init: str  # lift | pinv | estimate | latents
    x_hat: str = "direct"  # direct | residual; with residual, x_init + D'(z_hat) - D'(z_in)
    consistency: str = "none"  # prox | none; whether the losses see outputs that agree with y
    tau: Positive = 0.1  # expected error of the output, of consistency
    supervision: NotNegative = (
        0.0  # weight of |x_hat - x|^2, which needs clean clips; 0 = the paper
    )
    self_supervision: str = "none"  # none | splitting | operators | equivariance
    self_supervision_weight: NotNegative = 1.0
    block_size: Count  # latent frames per block
    rollout_blocks: CountOrNone = (
        0  # last blocks of a clip that are rolled out with a graph; 0 = one pass
    )
    rollout_window: Count = 21  # latent frames that a block of a rollout attends to
    rollout_sink: CountOrNone = 0
    student_learning_rate: Positive
    critic_learning_rate: Positive
    decay_steps: Count | None  # the student's rate falls to a twentieth over these; None = fixed
    betas: tuple[Decay, Decay]
    weight_decay: NotNegative
    epsilon: Positive  # AdamW's
    clip_norm: Positive  # of each net's gradient
    ema_decay: Decay  # 0 = off
    use_text: bool  # prompts of the clips; false = the null prompt for every net
    prompt_dropout: Share  # share of clips that get the null prompt
    negative_prompt: str  # of the teacher's guidance
    accumulate: Count  # micro-batches per step
    autocast: str  # bf16 | none; parameters stay float32
    checkpoint_activations: bool
    bridge_block: Count  # latent frames that the VAEs see at a time when checkpointing
    bridge_group: Count  # blocks whose VAE states are recomputed together; 1 = all states are kept
    attention: str  # blocks | flex, of the student's block-causal pass
    seed: CountOrNone
    initialisation: str = "none"  # none | ode | consistency, on the teacher's own trajectories
    initial_steps: CountOrNone = (
        0  # first steps, which do that alone; the others are counted from their end
    )
    initial_levels: Count = 16  # Euler steps of a trajectory
    lora: Lora | None = None  # adapters of student and critic; None trains them whole

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(
                    f"distill.{name}={getattr(self, name)} is not known: use one of {', '.join(choices)}"
                )
        if self.lowest_timestep > self.highest_timestep:
            raise UserError(
                f"distill.lowest_timestep={self.lowest_timestep:g} is above distill.highest_timestep="
                f"{self.highest_timestep:g}: swap them"
            )
        if (self.initialisation == "none") != (self.initial_steps == 0):
            raise UserError(
                f"distill.initialisation={self.initialisation} takes distill.initial_steps="
                f"{self.initial_steps}: set both, or neither"
            )
        if self.initial_steps and self.parametrization != "flow":
            raise UserError(
                f"distill.initialisation={self.initialisation} teaches a flow's velocity, and "
                f"distill.parametrization={self.parametrization} is another answer: set flow"
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
        known = {key: value for key, value in {**values, **more}.items() if key in names}
        try:
            return cls(**known)
        except ValidationError as error:
            raise misfit(error, "distill", known) from None

    def updates_student(self, step: int) -> bool:
        """Whether training step `step` (from 0) updates the student."""
        since = step - self.initial_steps - self.likelihood_only_steps
        return since < 0 or since % self.ratio == 0

    def updates_critic(self, step: int) -> bool:
        """Whether training step `step` (from 0) updates the critic; none without a prior."""
        return self.prior_weight > 0 and step >= self.initial_steps + self.first_critic_step

    def initialises(self, step: int) -> bool:
        """Whether training step `step` (from 0) is one of the initialisation."""
        return step < self.initial_steps

    def student_rate(self, step: int) -> float:
        """The student's learning rate at training step `step`: fixed (the paper), or a cosine."""
        if self.decay_steps is None:
            return self.student_learning_rate
        progress = min(1.0, step / self.decay_steps)
        falling = 0.5 * (1 + math.cos(math.pi * progress))
        return self.student_learning_rate * (FINAL_RATE + (1 - FINAL_RATE) * falling)
