"""Grid, sharpness and flicker where nothing moves: the clean clip's own value, and what moves it."""

import math

import pytest
import torch
import torch.nn.functional as F

from lvis.data.synthetic import SyntheticVideos
from lvis.metrics import (
    METRICS,
    Suite,
    Unmeasured,
    flicker_static,
    gradient_distance,
    grid_contrast,
    grid_energy,
    sharpness_high_band,
)

NAMES = (
    "flicker_static",
    "grid_energy_8px",
    "grid_contrast_8px",
    "sharpness_high_band",
    "gradient_distance",
)


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    return SyntheticVideos(0, 5, (64, 96), "val")[0]["video"][None] * 0.8


def noisy(video: torch.Tensor, level: float) -> torch.Tensor:
    return video + level * torch.randn(video.shape, generator=torch.Generator().manual_seed(0))


def blurred(video: torch.Tensor, times: int) -> torch.Tensor:
    frames = video[0].transpose(0, 1)
    for _ in range(times):
        frames = F.avg_pool2d(F.pad(frames, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return frames.transpose(0, 1)[None]


def with_grid(video: torch.Tensor, height: float) -> torch.Tensor:
    """A bright line on every eighth row and column."""
    out = video.clone()
    out[..., ::8, :] += height
    out[..., ::8] += height
    return out


def test_the_clean_clip_has_the_value_of_no_difference(clean):
    assert grid_energy(clean, clean) == grid_contrast(clean, clean) == 1
    assert sharpness_high_band(clean, clean) == gradient_distance(clean, clean) == 0


@pytest.mark.parametrize("measure", [grid_energy, grid_contrast])
def test_a_stronger_grid_has_more_of_its_period(clean, measure):
    values = [measure(with_grid(clean, height), clean) for height in (0.0, 0.05, 0.1, 0.2)]
    assert values == sorted(values)
    assert values[2] > 1.2


def test_a_grid_of_nine_pixels_leaves_the_period_of_eight_alone(clean):
    nine, eight = clean.clone(), with_grid(clean, 0.1)
    nine[..., ::9, :] += 0.1
    nine[..., ::9] += 0.1
    assert grid_contrast(nine, clean) < 0.6 * grid_contrast(eight, clean)


def test_noise_and_blur_move_the_energy_and_hardly_the_contrast(clean):
    noise, blur = noisy(clean, 0.1), blurred(clean, 1)
    assert grid_energy(noise, clean) > 1.2
    assert grid_energy(blur, clean) < 0.8
    for changed in (noise, blur):
        moved = [math.log(measure(changed, clean)) for measure in (grid_contrast, grid_energy)]
        assert abs(moved[0]) < 0.4 * abs(moved[1])
    assert grid_contrast(with_grid(blur, 0.05), clean) > grid_contrast(blur, clean)


def test_the_grid_counts_only_the_periods_that_fit():
    with pytest.raises(Unmeasured, match="17"):
        grid_energy(torch.zeros(1, 3, 1, 16, 64), torch.zeros(1, 3, 1, 16, 64))
    with pytest.raises(Unmeasured, match="flat"):
        grid_contrast(torch.zeros(1, 3, 1, 64, 64), torch.zeros(1, 3, 1, 64, 64))


def test_blur_takes_sharpness_and_noise_adds_it(clean):
    down = [sharpness_high_band(blurred(clean, times), clean) for times in range(4)]
    up = [sharpness_high_band(noisy(clean, level), clean) for level in (0.0, 0.05, 0.1, 0.2)]
    assert down == sorted(down, reverse=True)
    assert up == sorted(up)
    assert down[-1] < -3 < 3 < up[-1]


def test_half_the_contrast_is_a_quarter_of_the_power(clean):
    assert sharpness_high_band(clean / 2, clean) == pytest.approx(10 * math.log10(1 / 4), abs=1e-3)


def test_gradients_of_blurred_and_of_noisy_pictures_are_further_and_further_away(clean):
    for change, amounts in ((blurred, (0, 1, 2, 4)), (noisy, (0.0, 0.05, 0.1, 0.2))):
        values = [gradient_distance(change(clean, amount), clean) for amount in amounts]
        assert values == sorted(values)
        assert values[0] == 0 < values[1]


def test_the_gradient_distance_of_two_ramps_is_half_the_difference_of_their_slopes():
    ramp = torch.linspace(-1, 1, 21).expand(1, 3, 1, 8, 21)  # 0.05 of [0, 1] a pixel, rows flat
    assert gradient_distance(0.5 * ramp, ramp) == pytest.approx(0.025 / 2, abs=1e-6)


def test_flicker_counts_only_where_the_clean_clip_stands_still():
    clean = torch.zeros(1, 3, 4, 32, 32)
    clean[:, :, ::2, :, 16:] = 0.8  # the right half blinks by itself
    answer = clean.clone()
    answer[:, :, 1::2, :, :12] += 0.2  # 0.1 of [0, 1], on 12 of the 13 columns that count
    answer[:, :, 1::2, :, 20:] -= 0.2  # where the clean clip moves: not counted
    assert flicker_static(answer, clean) == pytest.approx(0.1 * 12 / 13, abs=1e-5)
    assert flicker_static(clean, clean) == 0
    levels = [flicker_static(noisy(clean, level), clean) for level in (0.0, 0.05, 0.1)]
    assert levels == sorted(levels)
    with pytest.raises(Unmeasured, match="moves everywhere"):
        flicker_static(clean[..., 20:], clean[..., 20:])


def test_each_is_registered_and_scored_by_its_name(clean):
    for name in NAMES:
        assert METRICS[name].of == "clip"
    scores = Suite(NAMES).clip(clean, clean)
    assert set(scores.values) == set(NAMES)
    assert scores.values["grid_energy_8px"] == 1
