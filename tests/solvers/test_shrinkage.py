"""The shrinkage is what one block at a time gives, whatever form it is computed in."""

import math
from itertools import chain, product

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn

from lvis.solvers.shrinkage import PLACES, without_noise

SIDE, THRESHOLD = 8, 2.7
Windows = tuple[tuple[int, int], ...]


def plainly(video: torch.Tensor, sigma: float, step: int, windows: Windows) -> torch.Tensor:
    """One space-time block after the other, float64."""
    margin, (height, width) = SIDE - step, video.shape[3:]
    sides = [(margin, margin + -side % step) for side in (height, width)]
    samples = []
    for sample in video.double().numpy():
        opponent = dctn(sample, axes=[0], norm="ortho")
        padded = np.pad(opponent, [(0, 0), (0, 0), *sides], mode="reflect")
        result = np.stack([shrunk(colour, sigma, step, windows) for colour in padded])
        cropped = result[..., margin:, margin:][..., :height, :width]
        samples.append(idctn(cropped, axes=[0], norm="ortho"))
    return torch.from_numpy(np.stack(samples))


def shrunk(frames: np.ndarray, sigma: float, step: int, windows: Windows) -> np.ndarray:
    total, weights = np.zeros_like(frames), np.zeros_like(frames)
    tops, lefts = (range(0, side - SIDE + 1, step) for side in frames.shape[1:])
    for first, count in chain(*(spans(len(frames), *window) for window in windows)):
        for top, left in product(tops, lefts):
            place = np.s_[first : first + count, top : top + SIDE, left : left + SIDE]
            cosines = dctn(frames[place], norm="ortho")
            kept = np.abs(cosines) > THRESHOLD * sigma
            kept[0, 0, 0] = True
            weight = count / kept.sum()
            total[place] += weight * idctn(cosines * kept, norm="ortho")
            weights[place] += weight
    return total / weights


def spans(frames: int, length: int, apart: int) -> list[tuple[int, int]]:
    if frames <= length:
        return [(0, frames)]
    return [
        (round(first), length)
        for first in np.linspace(0, frames - length, math.ceil((frames - length) / apart) + 1)
    ]


def scene(shape: tuple[int, ...], noise: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    rows, columns = torch.arange(shape[3])[:, None], torch.arange(shape[4])
    time = torch.arange(shape[2])[:, None, None]
    video = 0.5 * torch.sin(0.4 * rows + 0.2 * time) * torch.cos(0.3 * columns).expand(shape)
    return video + noise * torch.randn(shape, generator=generator, dtype=torch.float64)


# float64, in which no coefficient is near enough to the threshold for rounding to decide
@pytest.mark.parametrize("step", [4, 8])
@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (44, 31)])
@pytest.mark.parametrize("windows", [((4, 2), (8, 4)), ((3, 3),)])
def test_it_is_what_one_block_after_the_other_gives(size, sigma, step, windows):
    video = scene((2, 3, 9, *size), 0.1)
    expected = plainly(video, sigma, step, windows)
    assert torch.allclose(without_noise(video, sigma, step, windows), expected, atol=1e-6)


def test_float32_differs_where_rounding_decides_only():
    video = scene((1, 3, 8, 64, 96), 0.1)
    difference = without_noise(video.float(), 0.1).double() - without_noise(video, 0.1)
    assert (difference.abs() > 1e-5).double().mean() < 0.02
    assert difference.square().mean().sqrt() < 1e-4


@pytest.mark.parametrize("places", [1, 200, 1500])
def test_nothing_depends_on_how_many_blocks_are_at_hand(places, monkeypatch):
    video = scene((1, 3, 6, 41, 52), 0.1)
    expected = without_noise(video, 0.1, origin=(2, 6))
    monkeypatch.setitem(PLACES, "cpu", places)
    assert torch.allclose(without_noise(video, 0.1, origin=(2, 6)), expected, atol=1e-9)


@pytest.mark.parametrize("step", [4, 8])
@pytest.mark.parametrize("size", [(40, 56), (41, 51)])
@pytest.mark.parametrize("origin", [(0, 4), (4, 0), (6, 2)])
def test_an_origin_is_a_roll_there_and_back(origin, size, step):
    video = scene((1, 3, 5, *size), 0.1)
    rolled = without_noise(torch.roll(video, origin, (3, 4)), 0.1, step)
    expected = torch.roll(rolled, (-origin[0], -origin[1]), (3, 4))
    assert torch.allclose(without_noise(video, 0.1, step, origin=origin), expected, atol=1e-9)


def test_all_is_shrunk_to_the_means_of_blocks_where_nothing_else_stands_out():
    video = torch.zeros(1, 3, 4, 16, 16)
    video[:, :, :, 4, 4] = 0.1
    result = without_noise(video, 1.0, step=8)
    expected = torch.zeros_like(video)
    expected[:, :, :, :8, :8] = 0.1 / 64
    assert torch.allclose(result, expected, atol=1e-7)


def test_the_input_stays():
    video = scene((1, 3, 4, 16, 16), 0.1)
    before = video.clone()
    without_noise(video, 0.2)
    assert torch.equal(video, before)
