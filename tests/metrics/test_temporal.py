"""What flickers, what moves and what stands still, by hand."""

import math

import pytest
import torch

from lvis.metrics import (
    Unmeasured,
    flicker_high_band,
    flicker_spectrum,
    frame_difference_error,
    residual_rms,
    xt_slice,
)


def video(values, side: int = 4) -> torch.Tensor:
    """Uniform frames of these values in [0, 1], as (1, 3, T, side, side) in [-1, 1]."""
    frames = torch.tensor(values, dtype=torch.float32).view(1, 1, -1, 1, 1)
    return (frames * 2 - 1).expand(1, 3, -1, side, side).clone()


def test_a_constant_offset_is_no_frame_difference_error_and_an_alternating_one_is_twice_itself():
    clean = video([0.5] * 6)
    assert frame_difference_error(video([0.6] * 6), clean) == pytest.approx(0, abs=1e-6)
    alternating = video([0.5 + 0.1 * (-1) ** t for t in range(6)])
    assert frame_difference_error(alternating, clean) == pytest.approx(0.2, abs=1e-6)


def test_a_sine_peaks_at_its_frequency_and_white_noise_is_flat_at_its_variance():
    time = torch.arange(32)
    frequencies, power = flicker_spectrum(
        video((0.5 + 0.2 * torch.sin(2 * math.pi * time / 8)).tolist())
    )
    assert frequencies[power.argmax()] == 1 / 8
    noise = torch.randn(1, 3, 32, 40, 40, generator=torch.Generator().manual_seed(0)) * 0.2
    _, power = flicker_spectrum(noise)
    # a deviation of 0.2 in [-1, 1] is 0.1 in [0, 1]; the mean's removal takes from the lowest two
    torch.testing.assert_close(power[3:-1], torch.full_like(power[3:-1], 0.01), rtol=0.1, atol=0)


def test_flicker_on_top_is_positive_smoothing_negative_and_the_same_zero():
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(1, 3, 16, 12, 12, generator=generator) * 0.1
    flicker = torch.tensor([(-1.0) ** t for t in range(16)]).view(1, 1, -1, 1, 1)
    assert flicker_high_band(clean, clean) == pytest.approx(0, abs=1e-6)
    assert flicker_high_band(clean + 0.1 * flicker, clean) > 3
    assert flicker_high_band(0.5 * clean, clean) == pytest.approx(20 * math.log10(0.5), abs=1e-3)


def test_a_still_clip_and_single_frames_are_unmeasured():
    with pytest.raises(Unmeasured, match="stands still"):
        flicker_high_band(video([0.5] * 8), video([0.5] * 8))
    with pytest.raises(Unmeasured, match="needs 2"):
        frame_difference_error(video([0.5]), video([0.5]))


def test_an_xt_slice_is_one_row_over_time():
    clip = torch.arange(2 * 3 * 5 * 4 * 6).view(2, 3, 5, 4, 6).float()
    assert torch.equal(xt_slice(clip), clip[0, :, :, 2])
    assert torch.equal(xt_slice(clip, row=0), clip[0, :, :, 0])


def test_the_residual_is_a_root_mean_square_and_blind_to_the_null_space():
    y = torch.zeros(1, 3, 2, 4, 4)
    assert residual_rms(y + 0.5, y) == pytest.approx(0.5)
    measured = y.clone()
    measured[..., 0, 0] = 1.0
    assert residual_rms(measured, y) == pytest.approx(0.25)
    with pytest.raises(Unmeasured):
        residual_rms(y[:, :, :1], y)
