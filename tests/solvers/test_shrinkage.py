"""The shrinkage is what one block at a time gives, whatever form it is computed in."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn

from lvis.solvers.shrinkage import PLACES, without_noise

SIDE, FRAMES, THRESHOLD = 8, 4, 2.7


def plainly(video: torch.Tensor, sigma: float, step: int) -> torch.Tensor:
    """One space-time block after the other, float64."""
    margin, (height, width) = SIDE - step, video.shape[3:]
    sides = [(margin, margin + -side % step) for side in (height, width)]
    samples = []
    for sample in video.double().numpy():
        opponent = dctn(sample, axes=[0], norm="ortho")
        parts = []
        for start in range(0, video.shape[2], FRAMES):
            part = opponent[:, start : start + FRAMES]
            padded = np.pad(part, [(0, 0), (0, 0), *sides], mode="reflect")
            cropped = [shrunk(colour, sigma, step) for colour in padded]
            parts.append(np.stack(cropped)[..., margin:, margin:][..., :height, :width])
        samples.append(idctn(np.concatenate(parts, axis=1), axes=[0], norm="ortho"))
    return torch.from_numpy(np.stack(samples))


def shrunk(frames: np.ndarray, sigma: float, step: int) -> np.ndarray:
    # the weights are of each frequency in time: back to the frames only after the mean of the blocks
    spectrum = dctn(frames, axes=[0], norm="ortho")
    total, weights = np.zeros_like(spectrum), np.zeros_like(spectrum)
    for top in range(0, frames.shape[1] - SIDE + 1, step):
        for left in range(0, frames.shape[2] - SIDE + 1, step):
            for frequency in range(len(frames)):
                place = frequency, slice(top, top + SIDE), slice(left, left + SIDE)
                cosines = dctn(spectrum[place], norm="ortho")
                kept = np.abs(cosines) > THRESHOLD * sigma
                kept[0, 0] |= frequency == 0
                weight = 1 / max(kept.sum(), 1)
                total[place] += weight * idctn(cosines * kept, norm="ortho")
                weights[place] += weight
    return idctn(total / weights, axes=[0], norm="ortho")


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
def test_it_is_what_one_block_after_the_other_gives(size, sigma, step):
    video = scene((2, 3, 5, *size), 0.1)
    expected = plainly(video, sigma, step)
    assert torch.allclose(without_noise(video, sigma, step), expected, atol=1e-6)


def test_float32_differs_where_rounding_decides_only():
    video = scene((1, 3, 8, 64, 96), 0.1)
    difference = without_noise(video.float(), 0.1).double() - without_noise(video, 0.1)
    assert (difference.abs() > 1e-5).double().mean() < 0.02
    assert difference.square().mean().sqrt() < 1e-4


@pytest.mark.parametrize("places", [1, 50, 300])
def test_nothing_depends_on_how_many_blocks_are_at_hand(places, monkeypatch):
    video = scene((1, 3, 6, 40, 52), 0.1)
    expected = without_noise(video, 0.1)
    monkeypatch.setitem(PLACES, "cpu", places)
    assert torch.allclose(without_noise(video, 0.1), expected, atol=1e-9)


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
