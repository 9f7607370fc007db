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
# blocks of single frames whose 64 coefficients are at hand at a time: on a CPU, what its caches hold
PLACES = {"cpu": 2**14}
MANY_PLACES = 2**20


@torch.no_grad()
def without_noise(
    video: Tensor,
    sigma: float,
    step: int = STEP,
    windows: Sequence[tuple[int, int]] = WINDOWS,
    origin: tuple[int, int] = (0, 0),
) -> Tensor:
    """`video` (B, 3, T, H, W) with white noise of standard deviation `sigma` reduced; no gradient.

    Videos smaller than a block come back as they are.

    Args:
        step: pixels between the beginnings of blocks; 8 puts each pixel into one block of each
            window, which is two to three times as fast as 4 and shows their borders.
        windows: frames of a block, and frames between the beginnings of blocks, at most.
        origin: rows and columns by which the video is rolled before and back after.
    """
    if sigma <= 0 or min(video.shape[3:]) < SIDE:
        return video
    shrinkage = _Shrinkage(video, sigma, step, windows)
    result = torch.empty_like(video, memory_format=torch.contiguous_format)
    for sample, restored in zip(video, result, strict=True):
        shrinkage(sample, restored, origin)
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


def _spans(frames: int, length: int, apart: int) -> list[tuple[int, int]]:
    """First frames and lengths of blocks in time, spread evenly from the first frame to the last."""
    if frames <= length:
        return [(0, frames)]
    more = math.ceil((frames - length) / apart)
    return [(round(at * (frames - length) / more), length) for at in range(more + 1)]


class _Shrinkage:
    """The shrinkage of samples like those of `video`, a band of rows at a time.

    Cosines in space and in time commute: those in space are taken once per frame, not once per
    window, and so is their inverse.
    """

    def __init__(
        self, video: Tensor, sigma: float, step: int, windows: Sequence[tuple[int, int]]
    ) -> None:
        _, _, self.frames, self.height, self.width = video.shape
        self.step, self.threshold = step, THRESHOLD * sigma
        self.spans = [s for window in windows for s in _spans(self.frames, *window)]
        self.times = {count: _cosines(count).to(video) for _, count in self.spans}
        # luminance and two colour axes, orthonormal, so that noise stays white
        self.colours = _cosines(3).to(video)
        self.to_blocks, self.to_cells = (kernel.to(video) for kernel in _kernels(step))
        # every pixel is in the same number of blocks, and the sides divide by the step
        self.below, self.right = (-side % step for side in (self.height, self.width))
        self.on_cpu = video.device.type == "cpu"

    def __call__(self, video: Tensor, result: Tensor, origin: tuple[int, int]) -> None:
        """Writes the shrinkage of (3, T, H, W), rolled by `origin`, to `result`."""
        step, margin = self.step, SIDE - self.step
        sides = (margin, margin + self.right)
        rows = (self.height + self.below) // step
        columns = (self.width + self.right) // step
        # rows of the video under those of the padded one
        lines = torch.arange(-margin, rows * step + margin, device=video.device).abs()
        lines = self.height - 1 - (self.height - 1 - lines).abs()
        lines = (lines - origin[0]) % self.height
        band = max(1, PLACES.get(video.device.type, MANY_PLACES) // (self.frames * columns))
        for top in range(0, rows, band):
            bottom = min(top + band, rows)
            part = video.index_select(2, lines[top * step : bottom * step + 2 * margin])
            if origin[1]:
                part = part.roll(origin[1], 3)
            if any(sides):
                part = F.pad(part, (*sides, 0, 0), mode="reflect")
            opponent = torch.mm(self.colours, part.view(3, -1)).view(part.shape)
            cells = torch.stack([self._averaged(colour) for colour in opponent])
            cells = torch.mm(self.colours.T, cells.view(3, -1)).view(cells.shape)
            # (3, T, rows, step, columns, step)
            cells = cells.unflatten(2, (step, step)).permute(0, 1, 4, 2, 5, 3)
            pixels = cells.reshape(3, self.frames, -1, columns * step)
            count = min(bottom * step, self.height) - top * step
            for here, there in _wrapped(top * step - origin[0], count, self.height):
                for left, right in _wrapped(-origin[1], self.width, self.width):
                    result[:, :, there, right] = pixels[:, :, here, left]

    def _averaged(self, images: Tensor) -> Tensor:
        """The weighted means of overlapping blocks of padded images (T, H', W'), as cells
        (T, step^2, rows, columns)."""
        blocks = F.conv2d(images[:, None], self.to_blocks, stride=self.step)
        to_cells, shape = self.to_cells, blocks.shape[2:]
        if self.on_cpu:
            # few frequencies pass a high threshold; to look is cheap where no device has to be waited for
            alive = self._alive(blocks)
            blocks, to_cells = blocks[:, alive], to_cells[:, alive]
        total, weights = self._weighted(blocks.flatten(2))
        cells = F.conv2d(total.unflatten(2, shape), to_cells)
        spread = F.avg_pool2d(
            weights.unflatten(1, shape), to_cells.shape[2], stride=1, divisor_override=1
        )
        return cells.div_(spread[:, None])

    def _alive(self, blocks: Tensor) -> Tensor:
        """The frequencies in space of (T, 64, h, w) that may hold something, and the means."""
        largest = blocks.amax(dim=(2, 3)).maximum(-blocks.amin(dim=(2, 3))).square_()
        # no coefficient in time is larger than the norm of all
        energies = [largest[first : first + count].sum(dim=0) for first, count in self.spans]
        alive = torch.stack(energies).amax(dim=0) > self.threshold**2
        alive[0] = True
        return alive.nonzero()[:, 0]

    def _weighted(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over the windows of (T, K, P), thresholded and weighted, and of weights (T, P).

        The first of the K frequencies are the blocks' means.
        """
        frames, _, places = blocks.shape
        flat = blocks.flatten(1)
        total, weights = torch.zeros_like(flat), blocks.new_zeros(frames, places)
        longest = max(self.times)
        spectra, counted = (flat.new_empty(longest, flat.shape[1]) for _ in range(2))
        for first, count in self.spans:
            span, time = slice(first, first + count), self.times[count]
            spectrum, kept = spectra[:count], counted[:count]
            torch.mm(time, flat[span], out=spectrum)
            # the mean of a block is its surest coefficient; without it, faint colours of large
            # areas turn grey
            means = spectrum[0, :places].clone()
            torch.hardshrink(spectrum, self.threshold, out=spectrum)
            spectrum[0, :places] = means
            torch.ne(spectrum, 0, out=kept)
            kept[0, :places] = 1
            # blocks of few coefficients are the surer ones
            weight = kept.view(-1, places).sum(dim=0).reciprocal_().mul_(count)
            weights[span] += weight
            spectrum.view(-1, places).mul_(weight)
            total[span].addmm_(time.T, spectrum)
        return total.view(blocks.shape), weights


def _wrapped(first: int, count: int, size: int) -> list[tuple[slice, slice]]:
    """`count` places from `first` on a ring of `size`: their slices from 0 and their slices there."""
    first %= size
    before = min(count, size - first)
    parts = [(slice(before), slice(first, first + before))]
    return parts + [(slice(before, count), slice(count - before))] * (count > before)


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
