import pytest
import torch

from lvis.solvers.low_pass import low_pass, width


def test_the_filter_follows_the_noise_and_vanishes_at_the_clean_end():
    assert width(0.75, 2.0) == pytest.approx(1.0)
    assert width(0.75, 2.0, "released") == pytest.approx(width(0.75, 2.0**0.5))
    assert width(1.0, 2.0) == 0.0
    frames = torch.rand(1, 3, 9, 11)
    assert torch.equal(low_pass(frames, 0.0), frames)


def test_the_filter_is_a_gaussian_of_its_width():
    point = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    point[..., 20, 20] = 1.0
    spread = low_pass(point, 2.0)[0, 0]
    offsets = torch.arange(41, dtype=torch.float64) - 20
    assert spread.sum().item() == pytest.approx(1.0)
    assert (spread.sum(0) * offsets**2).sum().item() == pytest.approx(4.0, rel=0.01)
    assert (spread.sum(1) * offsets**2).sum().item() == pytest.approx(4.0, rel=0.01)
