"""One-dimensional operators as small dense float64 matrices, (outputs, inputs)."""

import torch
from torch import Tensor

BORDERS = ("zero", "reflect", "replicate", "circular")


def gaussian_kernel(size: int, sigma: float, truncate: float | None = None) -> Tensor:
    """Samples of a Gaussian at integer offsets from the centre, (size,), summing to one.

    Args:
        size: odd number of taps.
        sigma: standard deviation in pixels.
        truncate: taps further than round(truncate * sigma) from the centre are zero; the codes of
            DPS and AVIS have 4 here, which leaves 25 of 61 taps at sigma 3.
    """
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    if truncate is not None:
        kernel = kernel * (offsets.abs() <= int(truncate * sigma + 0.5))
    return kernel / kernel.sum()


def convolution_matrix(kernel: Tensor, length: int, border: str) -> Tensor:
    """Correlation with a centred kernel of odd size, (length, length).

    The border rules are those of `torch.nn.functional.pad` (reflect does not repeat the edge
    sample), carried on as far as the kernel reaches, so a signal may be shorter than the kernel.
    """
    radius = kernel.numel() // 2
    rows = torch.arange(length)[:, None].expand(length, kernel.numel())
    columns = rows + torch.arange(-radius, radius + 1)
    weights = kernel.expand(length, -1)
    if border == "zero":
        weights = weights * ((columns >= 0) & (columns < length))
    matrix = torch.zeros(length, length, dtype=torch.float64)
    return matrix.index_put_((rows, _fold(columns, length, border)), weights, accumulate=True)


def causal_mean_matrix(length: int, window: int, seen: int) -> tuple[Tensor, Tensor]:
    """The mean of the last `window` frames, over fewer at the start of a video (denominators min(t
    + 1, window)).

    Args:
        length: frames in this block.
        seen: frames before it, of which at most window - 1 matter.

    Returns:
        The weights of the block's own frames (length, length) and of the min(seen, window - 1)
        frames just before it (length, past).
    """
    past = min(seen, window - 1)
    output = torch.arange(length)[:, None] + past
    source = torch.arange(length + past)[None, :]
    inside = (source <= output) & (source > output - window)
    weights = inside.double() / inside.sum(dim=1, keepdim=True)
    return weights[:, past:], weights[:, :past]


def average_pool_matrix(length: int, factor: int) -> Tensor:
    """Means over consecutive groups of `factor`, (length / factor, length)."""
    identity = torch.eye(length // factor, dtype=torch.float64)
    return identity.repeat_interleave(factor, dim=1) / factor


def cubic_downsample_matrix(length: int, factor: int) -> Tensor:
    """Keys' cubic (a = -0.5) widened by `factor` against aliasing, mirrored at the edges, (length
    / factor, length).

    This is Shocher's Resizer, which InstantViR and DPS use. `interpolate(mode="bicubic",
    antialias=True)` is the same except within three outputs of the edge, where it renormalises the
    taps that remain.
    """
    count = length // factor
    reach = 2 * factor
    centres = (torch.arange(count, dtype=torch.float64)[:, None] + 0.5) * factor - 0.5
    columns = torch.floor(centres).long() + torch.arange(-reach, reach + 2)
    weights = _keys_cubic((columns - centres) / factor)
    weights = weights / weights.sum(dim=1, keepdim=True)
    rows = torch.arange(count)[:, None].expand_as(columns)
    matrix = torch.zeros(count, length, dtype=torch.float64)
    return matrix.index_put_((rows, _fold(columns, length, "mirror")), weights, accumulate=True)


def linear_upsample_matrix(count: int, factor: int) -> Tensor:
    """Linear interpolation at half-pixel centres, constant beyond the edge, (count * factor,
    count).

    One axis of `interpolate(mode="bilinear", align_corners=False)`.
    """
    length = count * factor
    position = (torch.arange(length, dtype=torch.float64) + 0.5) / factor - 0.5
    position = position.clamp(0, count - 1)
    distance = (position[:, None] - torch.arange(count, dtype=torch.float64)).abs()
    return (1 - distance).clamp_min(0)


def _keys_cubic(distance: Tensor) -> Tensor:
    near, a = distance.abs(), -0.5
    inner = (a + 2) * near**3 - (a + 3) * near**2 + 1
    outer = a * (near**3 - 5 * near**2 + 8 * near - 4)
    return torch.where(near <= 1, inner, torch.where(near < 2, outer, torch.zeros_like(near)))


def _fold(index: Tensor, length: int, border: str) -> Tensor:
    """Positions beyond the edge brought back inside."""
    if border == "circular":
        return index % length
    if border == "reflect" and length > 1:
        period = 2 * (length - 1)
        return (length - 1) - ((index % period) - (length - 1)).abs()
    if border == "mirror":
        wrapped = index % (2 * length)
        return torch.minimum(wrapped, 2 * length - 1 - wrapped)
    return index.clamp(0, length - 1)
