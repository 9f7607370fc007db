"""Pixels <-> patches, and the Haar wavelets between them, for LeanVAE.

A latent position covers a patch of 8 x 8 pixels and four frames (one in the first frame of a clip).
LeanVAE transforms a patch with one level of Haar wavelets, in space and time (8 bands; in space
only, 4 bands, for the first frame), and applies linear layers to the coefficients. The wavelets
being linear too, we apply them to the layers' weights: pixels then need no pass of their own.

LeanVAE scales the orthonormal transform by 2 (image) and 2 sqrt(2) (video), which leaves sums and
differences of pixels.
"""

import torch
from torch import Tensor

COLOURS = 3
SIDE = 8
FRAMES = 4

# coefficients of a patch: bands x colours x 4 x 4, in two layers for the video
LOW_IMAGE = COLOURS * 4 * 4
HIGH_IMAGE = 3 * LOW_IMAGE
LOW_VIDEO = 2 * LOW_IMAGE
HIGH_VIDEO = 7 * LOW_VIDEO


def to_patches(video: Tensor, frames: int) -> Tensor:
    """(B, 3, T, H, W) -> (B, T / frames, H / 8, W / 8, 3 * frames * 64)."""
    batch, _, total, height, width = video.shape
    grid = (total // frames, height // SIDE, width // SIDE)
    split = video.reshape(batch, COLOURS, grid[0], frames, grid[1], SIDE, grid[2], SIDE)
    return split.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(batch, *grid, -1)


def from_patches(patches: Tensor, frames: int) -> Tensor:
    """The inverse of `to_patches`, in float32."""
    batch, *grid, _ = patches.shape
    split = patches.reshape(batch, *grid, COLOURS, frames, SIDE, SIDE)
    split = split.permute(0, 4, 1, 5, 2, 6, 3, 7)
    split = split.to(torch.float32, memory_format=torch.contiguous_format)
    return split.reshape(batch, COLOURS, grid[0] * frames, grid[1] * SIDE, grid[2] * SIDE)


def synthesis(coefficients: Tensor) -> Tensor:
    """Rows of coefficients (N, 192 or 768), low band first -> rows of pixels (`to_patches`)."""
    rows = coefficients.shape[0]
    if coefficients.shape[1] == LOW_IMAGE + HIGH_IMAGE:
        # bands in the order (width, height)
        bands = coefficients.reshape(rows, 2, 2, COLOURS, 4, 4)
        pixels = _butterfly(_butterfly(bands, 1), 2) / 4
        return pixels.permute(0, 3, 4, 2, 5, 1).reshape(rows, -1)
    # bands in the order (time, height, width)
    bands = coefficients.reshape(rows, 2, 2, 2, COLOURS, 2, 4, 4)
    pixels = _butterfly(_butterfly(_butterfly(bands, 1), 2), 3) / 8
    return pixels.permute(0, 4, 5, 1, 6, 2, 7, 3).reshape(rows, -1)


def analysis_transposed(coefficients: Tensor) -> Tensor:
    """Rows w of a layer on coefficients -> rows of the same layer on pixels, w A.

    A, the analysis, is orthogonal up to its scale, so its transpose is a multiple of its inverse.
    """
    bands = 4 if coefficients.shape[1] == LOW_IMAGE + HIGH_IMAGE else 8
    return bands * synthesis(coefficients)


def _butterfly(pairs: Tensor, dim: int) -> Tensor:
    """Sum and difference along a dimension of size 2."""
    first, second = pairs.unbind(dim)
    return torch.stack((first + second, first - second), dim)
