"""Rotary position embedding in three axes (time, height, width), as Wan 2.1 splits a head."""

import torch
from torch import Tensor

THETA = 10_000.0


def axis_dims(head_dim: int) -> tuple[int, int, int]:
    """How many of a head's channels turn with time, height and width (128 -> 44, 42, 42)."""
    spatial = 2 * (head_dim // 6)
    return head_dim - 2 * spatial, spatial, spatial


def rotary_phases(
    first_frame: int,
    grid: tuple[int, int, int],
    head_dim: int,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary angles of a run of latent frames.

    The angles are absolute: a key is turned once, by its own frame, and may then lie anywhere in
    a cache, because a score depends on the difference of two positions only. They are computed
    in float64 from the position itself, so a stream never reaches the end of a table and frame
    10^7 is as exact as frame 10.

    Args:
        first_frame: absolute index of the first latent frame.
        grid: (t, h, w) in tokens.
        head_dim: channels of a head, even.

    Returns:
        cos, sin: float32 (t * h * w, 1, head_dim / 2).
    """
    starts = (first_frame, 0, 0)
    dims = axis_dims(head_dim)
    angles = []
    for axis, (start, length, dim) in enumerate(zip(starts, grid, dims, strict=True)):
        position = torch.arange(start, start + length, dtype=torch.float64, device=device)
        exponent = torch.arange(0, dim, 2, dtype=torch.float64, device=device) / dim
        shape = [1, 1, 1, -1]
        shape[axis] = length
        angle = torch.outer(position, THETA**-exponent)
        angles.append(angle.view(shape).expand(*grid, -1))
    angle = torch.cat(angles, dim=-1).flatten(0, 2).unsqueeze(1)
    return angle.cos().float(), angle.sin().float()


def rotate(heads: Tensor, phases: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the interleaved channel pairs of `heads` (B, N, heads, head_dim); float32 inside."""
    cos, sin = phases
    even, odd = heads.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).to(heads.dtype)
