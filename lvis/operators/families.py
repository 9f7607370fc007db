"""Operators drawn at random from the families that people meet: what `task=any` trains on."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lvis.errors import UserError
from lvis.operators.axes import Gaussian
from lvis.operators.base import LinearOperator
from lvis.operators.composition import compose
from lvis.operators.draws import Draw
from lvis.operators.identity import Identity
from lvis.operators.mask import Inpainting
from lvis.operators.separable import Separable
from lvis.operators.spatial import BLUR_RCOND, Downsampling
from lvis.operators.temporal import TemporalAverage

BLUR_SIZE = 61


class AnyOperator(LinearOperator):
    """A family of operators; `realise` draws one of them for a batch. Ours.

    Masks hide 20 to 80 % of the pixels or are boxes that stand or move; blurs have a sigma of 0.8
    to 5 pixels, in half of the draws another one along the rows; downsampling is by 2, 3, 4 or 8,
    averaged or cubic; causal means are of 2 to 7 frames; compositions put a mean before one of the
    others. Noise is 0 in a quarter of the draws and log-uniform elsewhere.

    Args:
        noise: least and most standard deviation of the noise, in units of x.
        shares: relative frequency of mask, blur, downsampling, mean, composition, and denoising.
        noise_std: unused; every draw has its own.

    Raises:
        UserError: shares that are not six numbers of 0 or more; a use before `realise`.
    """

    def __init__(
        self,
        noise: tuple[float, float] = (0.005, 0.1),
        shares: tuple[float, ...] = (0.25, 0.2, 0.2, 0.15, 0.12, 0.08),
        noise_std: float = 0.0,
    ) -> None:
        super().__init__(0.0)
        if len(shares) != 6 or min(shares) < 0 or sum(shares) <= 0:
            raise UserError(f"shares is {list(shares)}: give six numbers of 0 or more")
        if not 0 < noise[0] <= noise[1]:
            raise UserError(f"noise is {list(noise)}: give two positive numbers, the smaller first")
        self.noise = tuple(noise)
        self.shares = tuple(shares)

    def forward(self, x: Tensor) -> Tensor:
        raise UserError(
            "task=any is a family of operators for training; restore with the operator that made "
            "the measurement, such as task=deblur, or with task=unknown"
        )

    def measurement_shape(self, x_shape: torch.Size | tuple[int, ...]) -> torch.Size:
        return self(torch.empty(0)).shape

    def realise(
        self, x_shape: torch.Size | tuple[int, ...], generator: Draw = None
    ) -> LinearOperator:
        """One operator for the whole batch, with its noise level."""
        if isinstance(generator, list | tuple):
            generator = generator[0]
        assert generator is None or isinstance(generator, torch.Generator)
        draw = _Numbers(generator)
        makers: tuple[Callable[..., LinearOperator], ...]
        makers = (_mask, _blur, _downsampling, _mean, _composition, _denoising)
        operator: LinearOperator = makers[draw.choice(self.shares)](draw, tuple(x_shape))
        quiet = draw.uniform(0, 1) < 0.25 and not isinstance(operator, Identity)
        operator.noise_std = 0.0 if quiet else draw.logarithmic(*self.noise)
        return operator.realise(x_shape, generator)


class _Numbers:
    def __init__(self, generator: torch.Generator | None) -> None:
        self.generator = generator

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand(1, generator=self.generator))

    def logarithmic(self, low: float, high: float) -> float:
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def integer(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return min(high, low + int(self.uniform(0, high - low + 1)))

    def choice(self, shares: tuple[float, ...]) -> int:
        weights = torch.tensor(shares, dtype=torch.float64)
        return int(torch.multinomial(weights, 1, generator=self.generator))


def _mask(draw: _Numbers, shape: tuple[int, ...]) -> LinearOperator:
    if draw.uniform(0, 1) < 0.65:
        return Inpainting(draw.uniform(0.2, 0.8), per_frame=draw.uniform(0, 1) < 0.5)
    return Inpainting(mask=_boxes(draw, shape, moving=draw.uniform(0, 1) < 0.5))


def _boxes(draw: _Numbers, shape: tuple[int, ...], moving: bool) -> Tensor:
    """Observed (T or 1, H, W): all but one to three boxes of up to a third of the sides."""
    frames, height, width = shape[2] if moving else 1, shape[3], shape[4]
    mask = torch.ones(frames, height, width)
    for _ in range(draw.integer(1, 3)):
        rows, columns = (max(2, round(draw.uniform(0.06, 0.33) * side)) for side in (height, width))
        top, left = draw.uniform(0, height - rows), draw.uniform(0, width - columns)
        down, right = draw.uniform(-2, 2), draw.uniform(-2, 2)
        for frame in range(frames):
            y = min(max(round(top + down * frame), 0), height - rows)
            x = min(max(round(left + right * frame), 0), width - columns)
            mask[frame, y : y + rows, x : x + columns] = 0
    return mask


def _blur(draw: _Numbers, shape: tuple[int, ...]) -> LinearOperator:
    columns = draw.logarithmic(0.8, 5)
    rows = columns if draw.uniform(0, 1) < 0.5 else draw.logarithmic(0.8, 5)
    # coarse steps, so that the factors of an axis are made once
    down, across = (Gaussian(BLUR_SIZE, round(sigma, 1), "reflect") for sigma in (rows, columns))
    return Separable(None, down, across, rcond=BLUR_RCOND)


def _downsampling(draw: _Numbers, shape: tuple[int, ...]) -> LinearOperator:
    factors = [f for f in (2, 3, 4, 8) if shape[3] % f == 0 and shape[4] % f == 0]
    factor = factors[draw.integer(0, len(factors) - 1)] if factors else 1
    return Downsampling(factor, "average" if draw.uniform(0, 1) < 0.5 else "cubic")


def _mean(draw: _Numbers, shape: tuple[int, ...]) -> LinearOperator:
    return TemporalAverage(draw.integer(2, 7))


def _composition(draw: _Numbers, shape: tuple[int, ...]) -> LinearOperator:
    outer = (_mask, _blur, _downsampling)[draw.integer(0, 2)](draw, shape)
    return compose(outer, _mean(draw, shape), cg_iterations=30, cg_tolerance=1e-4)


def _denoising(draw: _Numbers, shape: tuple[int, ...]) -> LinearOperator:
    return Identity()
