"""Patches and windows of frames, stitched without seams: overlap, and weights that fall off smoothly."""

from collections.abc import Callable

import torch
from torch import Tensor

from lvis.errors import UserError


def starts(length: int, size: int, overlap: int) -> list[int]:
    """First indices of evenly spaced windows of `size` that cover `length`, overlapping by at least `overlap`.

    Raises:
        UserError: overlap outside [0, size).
    """
    if not 0 <= overlap < size:
        raise UserError(f"overlap={overlap} is not in [0, {size}); give fewer than the window has")
    if length <= size:
        return [0]
    count = 1 + -(-(length - size) // (size - overlap))
    return [round(i * (length - size) / (count - 1)) for i in range(count)]


def falloff(size: int) -> Tensor:
    """Positive weights (size,) of a window: sin^2, the largest in the middle."""
    return torch.sin(torch.pi * (torch.arange(size) + 0.5) / size).square()


def over_windows(
    apply: Callable[[Tensor], Tensor], value: Tensor, dim: int, size: int, overlap: int
) -> Tensor:
    """`apply`, which keeps shapes, on windows along `dim`, blended; differentiable.

    Raises:
        UserError: see `starts`.
    """
    length = value.shape[dim]
    first = starts(length, size, overlap)
    if len(first) == 1:
        return apply(value)
    shape = [size if axis == dim else 1 for axis in range(value.ndim)]
    weight = falloff(size).to(value).reshape(shape)
    total = torch.zeros_like(value)
    share = torch.zeros([length if axis == dim else 1 for axis in range(value.ndim)]).to(value)
    for start in first:
        index = torch.arange(start, start + size, device=value.device)
        answer = apply(value.narrow(dim, start, size))
        total = total.index_add(dim, index, answer * weight)
        share = share.index_add(dim, index, weight)
    return total / share


def over_patches(
    apply: Callable[[Tensor], Tensor], frames: Tensor, size: int, overlap: int
) -> Tensor:
    """`apply` on square patches of frames (N, C, H, W), blended.

    Raises:
        UserError: see `starts`.
    """

    def on_rows(rows: Tensor) -> Tensor:
        return over_windows(apply, rows, 3, size, overlap)

    return over_windows(on_rows, frames, 2, size, overlap)
