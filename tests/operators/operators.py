"""Every operator, at sizes at which its dense matrix fits: the list of the property tests."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lvis.operators import (
    Downsampling,
    GaussianBlur,
    Identity,
    Inpainting,
    LinearOperator,
    TemporalAverage,
    compose,
)

# sides that differ, so that a swapped axis shows; two samples, so that a mixed batch shows
SHAPE = (2, 1, 9, 4, 8)


class Flicker(LinearOperator):
    """A user's own operator, with nothing but its forward: it mixes frames and columns."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.7 * x + 0.3 * x.roll(1, dims=2) - 0.2 * x.roll(1, dims=4)


def _blur(sigma: float = 1.0, **options) -> LinearOperator:
    return GaussianBlur(size=7, sigma=sigma, **options)


def _half_mask(**options) -> Inpainting:
    return Inpainting(mask=(torch.arange(32) % 3 > 0).reshape(4, 8), **options)


OPERATORS: dict[str, Callable[[], LinearOperator]] = {
    "inpaint": lambda: Inpainting(),
    "inpaint_per_frame": lambda: Inpainting(per_frame=True),
    "inpaint_user": lambda: _half_mask(),
    "inpaint_latent": lambda: Inpainting(space="latent"),
    "blur_reflect": lambda: _blur(border="reflect"),
    "blur_zero": lambda: _blur(border="zero"),
    "blur_replicate": lambda: _blur(border="replicate"),
    "blur_circular": lambda: _blur(border="circular"),
    "blur_61_truncated": lambda: GaussianBlur(truncate=4),
    "downsample_average": lambda: Downsampling(),
    "downsample_cubic": lambda: Downsampling(filter="cubic"),
    "temporal_causal": lambda: TemporalAverage(),
    "temporal_causal_even": lambda: TemporalAverage(window=4),
    "temporal_circular": lambda: TemporalAverage(border="circular"),
    "temporal_replicate": lambda: TemporalAverage(border="replicate"),
    "spatiotemporal": lambda: compose(Downsampling(), TemporalAverage()),
    "deblur_plus": lambda: compose(_blur(), TemporalAverage()),
    "deblur_plus_circular": lambda: compose(_blur(), TemporalAverage(border="circular")),
    "sr_plus": lambda: compose(Downsampling(filter="cubic"), TemporalAverage()),
    "inpaint_plus": lambda: compose(Inpainting(), TemporalAverage()),
    "inpaint_plus_per_frame": lambda: compose(
        Inpainting(per_frame=True), TemporalAverage(border="circular")
    ),
    "blur_twice": lambda: compose(_blur(sigma=0.4), _blur(sigma=0.5, border="zero")),
    "identity": lambda: Identity(),
    "user": lambda: Flicker(),
}

STREAMABLE = [name for name, make in OPERATORS.items() if make().streamable]

over_all = pytest.mark.parametrize("name", OPERATORS)
over_streamable = pytest.mark.parametrize("name", STREAMABLE)


def make(name: str) -> LinearOperator:
    return OPERATORS[name]().realise(SHAPE, torch.Generator().manual_seed(7))


def video(seed: int, dtype: torch.dtype = torch.float64, shape: tuple[int, ...] = SHAPE) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64).mul(2).sub(1).to(dtype)


def dense(operator: LinearOperator, shape: tuple[int, ...] = SHAPE) -> list[Tensor]:
    """A's matrix for each sample of the batch: the basis vectors go in as channels."""
    size = shape[2] * shape[3] * shape[4]
    basis = torch.eye(size, dtype=torch.float64).reshape(1, size, *shape[2:])
    return list(operator(basis.expand(shape[0], -1, -1, -1, -1)).flatten(2).mT)
