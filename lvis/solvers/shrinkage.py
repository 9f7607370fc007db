"""Removes white noise from a first estimate: hard thresholds on overlapping space-time cosine blocks.

The classical transform-domain denoiser (Yaroslavsky, 1996; Guleryuz, 2007): no network, one pass.
"""

from functools import lru_cache
from itertools import product

import torch
import torch.nn.functional as F
from scipy.special import gammaincinv
from torch import Tensor

SIDE = 8
STEP = 4
FRAMES = 4
# in standard deviations of the noise; the usual value for hard thresholds
THRESHOLD = 2.7
# the share of blocks that may be taken to hold nothing but noise
FLATTEST = 0.2
# blocks whose 64 coefficients are at hand at a time: on a CPU, what its caches hold
PLACES = {"cpu": 2**13}
MANY_PLACES = 2**20


@torch.no_grad()
def without_noise(video: Tensor, sigma: float, step: int = STEP) -> Tensor:
    """`video` (B, 3, T, H, W) with white noise of standard deviation `sigma` reduced; no gradient.

    Blocks begin `step` pixels apart (8: each pixel in one, twice as fast as 4). Frames are
    taken four at a time. Videos smaller than a block come back as they are.
    """
    if sigma <= 0 or min(video.shape[3:]) < SIDE:
        return video
    result = video.new_empty(video.shape)
    for start in range(0, video.shape[2], FRAMES):
        part = slice(start, start + FRAMES)
        for sample, restored in zip(video, result, strict=True):
            _shrink(sample[:, part], restored[:, part], sigma, step)
    return result


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


def _shrink(video: Tensor, result: Tensor, sigma: float, step: int) -> None:
    """The shrinkage of up to four frames (3, T, H, W), written to `result`."""
    frames, height, width = video.shape[1:]
    # colours and times are transformed together; luminance and two colour axes, orthonormal, keep
    # white noise white, and the three means over time come first
    mixing = torch.kron(_cosines(3), _cosines(frames)).view(3, frames, -1).transpose(0, 1)
    mixing = mixing.reshape(3 * frames, -1).to(video)
    # every pixel is in the same number of blocks, and the sides divide by the step
    below, right = (-side % step for side in (height, width))
    margin = SIDE - step
    images = video.reshape(3 * frames, 1, height, width)
    images = F.pad(images, (margin, margin + right, margin, margin + below), mode="reflect")
    images = (mixing @ images.flatten(1)).view(images.shape)
    shrunk = video.new_empty(3 * frames, height + below, width + right)
    _shrink_images(images, shrunk, sigma, step)
    spectrum = shrunk[:, :height, :width].reshape(3 * frames, -1)
    for colour, back in zip(result, mixing.T.split(frames), strict=True):
        torch.mm(back, spectrum, out=colour.view(frames, -1))


def _shrink_images(images: Tensor, shrunk: Tensor, sigma: float, step: int) -> None:
    """Thresholds and averages the overlapping blocks of padded images (N, 1, H', W').

    The first three are means over time, whose own means are the surest coefficients of all: without
    them, faint colours of large areas would turn grey.

    Args:
        shrunk: what is written, (N, H, W), sides that divide by `step`.
    """
    count = len(images)
    rows, columns = (side // step for side in shrunk.shape[1:])
    to_blocks, to_cells = (kernel.to(images) for kernel in _kernels(step))
    places = PLACES.get(images.device.type, MANY_PLACES)
    band = min(rows, max(1, places // columns))
    several = max(1, places // (band * columns))
    for first, top in product(range(0, count, several), range(0, rows, band)):
        last, bottom = min(first + several, count), min(top + band, rows)
        reach = slice(top * step, (bottom - 1) * step + 2 * SIDE - step)
        blocks = F.conv2d(images[first:last, :, reach], to_blocks, stride=step)
        cells = _averaged(blocks, to_cells, THRESHOLD * sigma, max(0, 3 - first))
        target = shrunk[first:last, top * step : bottom * step]
        target = target.view(last - first, bottom - top, step, columns, step)
        target.permute(0, 2, 4, 1, 3).copy_(cells.unflatten(1, (step, step)))


def _averaged(blocks: Tensor, to_cells: Tensor, threshold: float, means: int) -> Tensor:
    """Hard thresholds on cosines (N, 64, h, w), then the weighted means of overlapping blocks.

    Args:
        blocks: changed in place.
        to_cells: kernel (step^2, 64, n, n) that gives the step x step pixels of a cell.
        means: of so many first images, the means of blocks stay.

    Returns:
        (N, step^2, h - n + 1, w - n + 1).
    """
    kept_means = blocks[:means, 0].clone()
    torch.hardshrink(blocks, threshold, out=blocks)
    blocks[:means, 0] = kept_means
    if blocks.device.type == "cpu":
        # few frequencies hold anything; to look is cheap where no device has to be waited for
        alive = blocks.amax(dim=(0, 2, 3)).maximum(-blocks.amin(dim=(0, 2, 3))) > 0
        alive[0] |= means > 0
        alive = alive.nonzero()[:, 0]
        blocks, to_cells = blocks[:, alive], to_cells[:, alive]
        if not len(alive):
            height, width = (side - to_cells.shape[2] + 1 for side in blocks.shape[2:])
            return blocks.new_zeros(len(blocks), len(to_cells), height, width)
    kept = blocks.sign().abs_()
    kept[:means, 0] = 1
    # blocks of few coefficients are the surer ones
    weight = kept.sum(dim=1, keepdim=True).clamp_min_(1).reciprocal_()
    cells = F.conv2d(blocks.mul_(weight), to_cells)
    overlap = to_cells.shape[2]
    return cells.div_(F.avg_pool2d(weight, overlap, stride=1, divisor_override=1))


@lru_cache(maxsize=2)
def _kernels(step: int) -> tuple[Tensor, Tensor]:
    """Convolutions from images to blocks' cosines, with this stride, and from these to cells.

    A cell is step x step pixels, and n = SIDE / step blocks reach it from each direction:
    (64, 1, 8, 8) and (step^2, 64, n, n).
    """
    reach = SIDE // step
    basis = _basis()
    with torch.inference_mode(False):
        cells = basis.view(SIDE**2, reach, step, reach, step).permute(2, 4, 0, 1, 3)
        cells = cells.reshape(step**2, SIDE**2, reach, reach).flip(2, 3).contiguous()
        return basis.view(SIDE**2, 1, SIDE, SIDE), cells


@lru_cache(maxsize=8)
def _cosines(count: int) -> Tensor:
    """The orthonormal cosine transform of `count` samples, (count, count)."""
    with torch.inference_mode(False):
        place = torch.arange(count, dtype=torch.float64)
        table = torch.cos(torch.pi / count * (place + 0.5) * place[:, None])
        table[0] *= 0.5**0.5
        return (table * (2 / count) ** 0.5).float()


@lru_cache(maxsize=1)
def _basis() -> Tensor:
    with torch.inference_mode(False):
        side = _cosines(SIDE)
        return torch.kron(side, side)
