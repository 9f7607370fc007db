"""Removes white noise from a first estimate: hard thresholds on overlapping space-time cosine blocks.

The classical transform-domain denoiser (Yaroslavsky, 1996; Guleryuz, 2007), in three dimensions and with
blocks of several lengths, so that still and moving parts are each averaged over the frames that fit them.
No network.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from scipy.special import gammaincinv
from torch import Tensor

SIDE = 8
STEP = 4
# (frames of a block, frames between blocks): short blocks for what moves, long ones for what stays
WINDOWS = ((4, 2), (8, 4))
# in standard deviations of the noise; the usual value for hard thresholds
THRESHOLD = 2.7
# the share of blocks that may be taken to hold nothing but noise
FLATTEST = 0.2


@torch.no_grad()
def without_noise(
    video: Tensor,
    sigma: float,
    step: int = STEP,
    windows: Sequence[tuple[int, int]] = WINDOWS,
) -> Tensor:
    """`video` (B, 3, T, H, W) with white noise of standard deviation `sigma` reduced; no gradient.

    Videos smaller than a block come back as they are.

    Args:
        step: pixels between the beginnings of blocks; 8 puts each pixel into one block of each
            window, which is four times as fast as 4 and shows their borders.
        windows: frames of a block, and frames between the beginnings of blocks, at most.
    """
    if sigma <= 0 or min(video.shape[3:]) < SIDE:
        return video
    # luminance and two colour axes, orthonormal, so that noise stays white
    colours = _cosines(3).to(video)
    opponent = torch.einsum("dc,bcthw->bdthw", colours, video)
    batch, channels, frames, height, width = opponent.shape
    # every pixel is in the same number of blocks, and the sides divide by the step
    below, right = (-side % step for side in (height, width))
    margin = SIDE - step
    padding = (margin, margin + right, margin, margin + below)
    padded = F.pad(opponent.reshape(1, -1, height, width), padding, mode="reflect")
    padded = padded.view(batch * channels, frames, *padded.shape[2:])
    total, weights = torch.zeros_like(padded), torch.zeros_like(padded)
    for length, apart in windows:
        for first, count in _spans(frames, length, apart):
            span = slice(first, first + count)
            _add_blocks(padded[:, span], sigma, step, total[:, span], weights[:, span])
    shrunk = total.div_(weights)[..., padding[2] :, padding[0] :][..., :height, :width]
    return torch.einsum("dc,bdthw->bcthw", colours, shrunk.reshape(opponent.shape))


def estimated_noise(video: Tensor) -> float:
    """Standard deviation of the white noise in (B, C, T, H, W), from its flattest 8 x 8 blocks.

    The energy of a block's finest cosines, at the quantile of all blocks where white noise alone
    would have it. Texture that fills the frame counts as noise; noise that a codec smoothed, or that
    was clipped to black or white, does not. 0 for videos smaller than a block.
    """
    height, width = video.shape[3:]
    if min(height, width) < SIDE:
        return 0.0
    images = video.transpose(1, 2).reshape(-1, 1, height, width)
    blocks = _basis().to(images) @ F.unfold(images, SIDE, stride=SIDE)
    place = torch.arange(SIDE)
    finest = ((place[:, None] + place) > SIDE).flatten().to(images.device)
    energies = blocks[:, finest].square().mean(dim=1).flatten()
    energies = energies[:: max(1, energies.numel() // 1_000_000)]
    # of the mean of `count` squared normal variables
    count = int(finest.sum())
    expected = 2 * gammaincinv(count / 2, FLATTEST) / count
    return float((torch.quantile(energies, FLATTEST) / expected).sqrt())


def _spans(frames: int, length: int, apart: int) -> list[tuple[int, int]]:
    """First frames and lengths of blocks in time, spread evenly from the first frame to the last."""
    if frames <= length:
        return [(0, frames)]
    more = math.ceil((frames - length) / apart)
    return [(round(at * (frames - length) / more), length) for at in range(more + 1)]


def _add_blocks(video: Tensor, sigma: float, step: int, total: Tensor, weights: Tensor) -> None:
    """Adds the blocks of (N, T, H, W), T frames long, thresholded and weighted, and their weights."""
    frames = video.shape[1]
    time = _cosines(frames).to(video)
    spectrum = torch.einsum("st,nthw->nshw", time, video)
    # blocks that begin `step` pixels apart are as many grids of blocks side by side
    for top in range(0, SIDE, step):
        for left in range(0, SIDE, step):
            rows = (video.shape[2] - top) // SIDE
            columns = (video.shape[3] - left) // SIDE
            part = (..., slice(top, top + rows * SIDE), slice(left, left + columns * SIDE))
            kept, weight = _thresholded(spectrum[part], sigma)
            total[part] += torch.einsum("st,nshw->nthw", time, kept)
            weights[part] += weight


def _thresholded(spectrum: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Blocks side by side in (N, T, H, W), of which T is transformed, times their weights; the
    weights (N, 1, H, W)."""
    count, frames, height, width = spectrum.shape
    rows, columns = height // SIDE, width // SIDE
    cosines = _cosines(SIDE).to(spectrum)
    blocks = (spectrum.reshape(-1, SIDE) @ cosines.mT).view(count, frames, rows, SIDE, width)
    blocks = (cosines @ blocks).view(count, frames, rows, SIDE, columns, SIDE)
    kept = (blocks.abs() > THRESHOLD * sigma).to(blocks)
    # the mean of a block is its surest coefficient; without it, faint colours of large areas turn grey
    kept[:, 0, :, 0, :, 0] = 1
    # blocks of few coefficients are the surer ones
    weight = frames / kept.sum(dim=(1, 3, 5), keepdim=True)
    blocks = (blocks * kept).mul_(weight).view(count, frames, rows, SIDE, width)
    blocks = (cosines.mT @ blocks).view(-1, SIDE) @ cosines
    spread = weight.expand(-1, 1, -1, SIDE, -1, SIDE).reshape(count, 1, height, width)
    return blocks.view(spectrum.shape), spread


@lru_cache(maxsize=8)
def _cosines(count: int) -> Tensor:
    """The orthonormal cosine transform of `count` samples, (count, count), float64."""
    with torch.inference_mode(False):
        place = torch.arange(count, dtype=torch.float64)
        table = torch.cos(torch.pi / count * (place + 0.5) * place[:, None])
        table[0] *= 0.5**0.5
        return table * (2 / count) ** 0.5


@lru_cache(maxsize=1)
def _basis() -> Tensor:
    with torch.inference_mode(False):
        side = _cosines(SIDE)
        return torch.kron(side, side)
