"""What the student is given of a measurement, and what is given out of its answer.

With `x_init: estimate` the student starts from x_init and sees the operator; with
`x_hat: residual` it changes x_init, and with `consistency: prox` the change is held to the
measurement, as in `lvis.solvers.student`. So the losses see what a stream gives out. Ours.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lvis.operators import LinearOperator
from lvis.solvers.agreement import MeasuredBlock, blocks_of, corrected_clip
from lvis.solvers.consistency import Consistency
from lvis.solvers.signature import (
    condition,
    latent_share,
    noise_timestep,
    responses,
    shown_mask,
)


@dataclass(frozen=True)
class Prepared:
    """The student's side of one batch.

    Attributes:
        z_in: E'(x_init), or E' of the lifted measurement, (B, 16, t, h, w).
        x_init: (B, 3, T, H, W); None for the paper's inputs.
        blocks: what each block of x_init must agree with.
        noise_std: of the measurement.
        bands, observed: see `lvis.solvers.signature.condition`; None where the operator is hidden.
    """

    z_in: Tensor
    x_init: Tensor | None = None
    blocks: tuple[MeasuredBlock, ...] = ()
    noise_std: float = 0.0
    bands: Tensor | None = None
    observed: Tensor | None = None

    def seen(self, conditioned: bool) -> Tensor:
        """The transformer's input: z_in, with the operator's channels for a student that has them."""
        return condition(self.z_in, self.bands, self.observed) if conditioned else self.z_in

    def shown(self, latents: Tensor, part: tuple[int, int], conditioned: bool) -> Tensor:
        """As `seen`, of latents at frames [first, end) of the clip."""
        if not conditioned:
            return latents
        observed = None if self.observed is None else self.observed[:, :, slice(*part)]
        return condition(latents, self.bands, observed)

    def timestep(self, conditioned: bool, otherwise: float) -> float:
        """The noise level for a student that sees the operator, else `otherwise`; [0, 1000]."""
        return noise_timestep(self.noise_std) if conditioned else otherwise

    def agreeing(self, video: Tensor, consistency: Consistency | None) -> Tensor:
        """`video` (B, 3, T, H, W) as a stream would give it out, not clamped."""
        if consistency is None or not self.blocks:
            return video
        return corrected_clip(list(self.blocks), video)


@torch.no_grad()
def first_estimates(
    y: Tensor, operator: LinearOperator, consistency: Consistency, block_size: int, residual: bool
) -> tuple[Tensor, tuple[MeasuredBlock, ...]]:
    """x_init (B, 3, T, H, W) of a batch of measurements, and its blocks."""
    pairs = blocks_of(operator, y, consistency, block_size)
    blocks = [block.explained_by(estimate) if residual else block for block, estimate in pairs]
    return torch.cat([estimate for _, estimate in pairs], dim=2), tuple(blocks)


@torch.no_grad()
def description(
    operator: LinearOperator, x_shape: tuple[int, ...]
) -> tuple[Tensor | None, Tensor | None]:
    """`bands` (1, BANDS) and `observed` (B or 1, 1, t, h, w) of a known operator."""
    if not operator.known:
        return None, None
    bands = responses(operator, Consistency().gamma(operator), x_shape)[None]
    missing = shown_mask(operator, x_shape)
    if missing is None:
        return bands, None
    missing = missing.expand(-1, -1, x_shape[2], -1, -1)
    return bands, 1 - latent_share(missing)
