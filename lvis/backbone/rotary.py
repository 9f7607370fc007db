"""Rotary position embedding in three axes (time, height, width), as Wan 2.1 splits a head."""

from functools import lru_cache

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
) -> Tensor:
    """The rotary phases exp(i angle) of a run of latent frames.

    The angles are absolute: a key is turned once, by its own frame, and may then lie anywhere in
    a cache, because a score depends on the difference of two positions only. They are computed
    in float64 from the position itself, so a stream never reaches the end of a table and frame
    10^7 is as exact as frame 10. What depends on the place in a frame is computed once per size.

    Args:
        first_frame: absolute index of the first latent frame.
        grid: (t, h, w) in tokens.
        head_dim: channels of a head, even.

    Returns:
        complex64 (t * h * w, 1, head_dim / 2).
    """
    time_dim = axis_dims(head_dim)[0]
    frames = axis_phases(first_frame, grid[0], time_dim, device)[:, None, None]
    places = place_phases(grid[1], grid[2], head_dim, torch.device(device or "cpu"))
    expanded = (frames.expand(*grid, -1), places.expand(*grid, -1))
    return torch.cat(expanded, dim=-1).flatten(0, 2).unsqueeze(1)


@lru_cache(maxsize=8)
def place_phases(rows: int, columns: int, head_dim: int, device: torch.device) -> Tensor:
    """The phases of the places in a frame, complex64 (1, rows, columns, channels)."""
    _, row_dim, column_dim = axis_dims(head_dim)
    # kept for later calls, which may be in training: not a tensor of inference mode
    with torch.inference_mode(False), torch.no_grad():
        down = axis_phases(0, rows, row_dim, device)[:, None].expand(rows, columns, -1)
        across = axis_phases(0, columns, column_dim, device).expand(rows, columns, -1)
        return torch.cat((down, across), dim=-1).unsqueeze(0)


def axis_phases(
    first: int, length: int, dim: int, device: torch.device | str | None = None
) -> Tensor:
    """The phases of a run of positions along one axis, complex64 (length, dim / 2)."""
    position = torch.arange(first, first + length, dtype=torch.float64, device=device)
    exponent = torch.arange(0, dim, 2, dtype=torch.float64, device=device) / dim
    angle = torch.outer(position, THETA**-exponent)
    return torch.complex(angle.cos().float(), angle.sin().float())


def rotate(heads: Tensor, phases: Tensor) -> Tensor:
    """Turn the interleaved channel pairs of `heads` (B, N, heads, head_dim); float32 inside.

    Args:
        phases: complex (N, 1, head_dim / 2), or the same numbers as real (N, 1, head_dim / 2, 2),
            for compilers that know no complex ones.
    """
    if not phases.is_complex():
        real, imaginary = heads.float().unflatten(-1, (-1, 2)).unbind(-1)
        cosine, sine = phases.unbind(-1)
        turned = (real * cosine - imaginary * sine, real * sine + imaginary * cosine)
        return torch.stack(turned, dim=-1).flatten(-2).to(heads.dtype)
    # one complex product reads and writes the heads once
    pairs = torch.view_as_complex(heads.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * phases).flatten(-2).to(heads.dtype)
