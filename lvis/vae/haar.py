"""Pixels <-> patches of Haar wavelet coefficients, the input and output of LeanVAE.

The first frame of a clip has a two-dimensional transform (4 bands), the rest a three-dimensional
one (8 bands), and a patch is 4 x 4 coefficients, two deep in the video. LeanVAE scales the
orthonormal transform by 2 and by 2 sqrt(2), which leaves plain sums and differences.

B batch, t latent frames, h w latent sides; a latent position covers 8 x 8 pixels and four frames
(one in the first).
"""

import torch
from torch import Tensor

COLOURS = 3
PATCH_SIDE = 4
PATCH_FRAMES = 2

# values of one latent position: bands x colours x patch
LOW_IMAGE = COLOURS * PATCH_SIDE**2
HIGH_IMAGE = 3 * LOW_IMAGE
LOW_VIDEO = PATCH_FRAMES * LOW_IMAGE
HIGH_VIDEO = 7 * LOW_VIDEO


def image_patches(frame: Tensor) -> Tensor:
    """(B, 3, 1, H, W) -> (B, 1, H/8, W/8, LOW_IMAGE + HIGH_IMAGE), the low band first."""
    batch, _, _, height, width = frame.shape
    pixels = frame.reshape(batch, COLOURS, 1, height // 8, PATCH_SIDE, 2, width // 8, PATCH_SIDE, 2)
    # bands are ordered (width, height) in the image transform
    pairs = pixels.permute(0, 2, 3, 6, 8, 5, 1, 4, 7)
    return _butterfly(_butterfly(pairs, 4), 5).flatten(4)


def image_pixels(patches: Tensor) -> Tensor:
    """The inverse of `image_patches`."""
    batch, _, rows, columns, _ = patches.shape
    bands = patches.reshape(batch, 1, rows, columns, 2, 2, COLOURS, PATCH_SIDE, PATCH_SIDE)
    pixels = _butterfly(_butterfly(bands, 4), 5) / 4
    return pixels.permute(0, 6, 1, 2, 7, 5, 3, 8, 4).reshape(
        batch, COLOURS, 1, rows * 8, columns * 8
    )


def video_patches(video: Tensor) -> Tensor:
    """(B, 3, 4t, H, W) -> (B, t, H/8, W/8, LOW_VIDEO + HIGH_VIDEO), the low band first."""
    batch, _, frames, height, width = video.shape
    pixels = video.reshape(
        batch,
        COLOURS,
        *(frames // 4, PATCH_FRAMES, 2),
        *(height // 8, PATCH_SIDE, 2),
        *(width // 8, PATCH_SIDE, 2),
    )
    # bands are ordered (time, height, width) in the video transform
    pairs = pixels.permute(0, 2, 5, 8, 4, 7, 10, 1, 3, 6, 9)
    return _butterfly(_butterfly(_butterfly(pairs, 4), 5), 6).flatten(4)


def video_pixels(patches: Tensor) -> Tensor:
    """The inverse of `video_patches`."""
    batch, depth, rows, columns, _ = patches.shape
    bands = patches.reshape(
        *(batch, depth, rows, columns),
        *(2, 2, 2, COLOURS, PATCH_FRAMES, PATCH_SIDE, PATCH_SIDE),
    )
    pixels = _butterfly(_butterfly(_butterfly(bands, 4), 5), 6) / 8
    return pixels.permute(0, 7, 1, 8, 4, 2, 9, 5, 3, 10, 6).reshape(
        batch, COLOURS, depth * 4, rows * 8, columns * 8
    )


def _butterfly(pairs: Tensor, dim: int) -> Tensor:
    """Sum and difference along a dimension of size 2; twice this is twice the input."""
    first, second = pairs.unbind(dim)
    return torch.stack((first + second, first - second), dim)
