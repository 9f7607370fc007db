"""The last step: outputs agree with the measurement, and errors of the past do not grow."""

import math

import pytest
import torch
import torch.nn.functional as F

from lvis.errors import UserError
from lvis.operators import (
    Composition,
    Downsampling,
    GaussianBlur,
    Identity,
    Inpainting,
    TemporalAverage,
    Unknown,
    compose,
)
from lvis.solvers import tracking
from lvis.solvers.agreement import Agreement, blocks_of, corrected_clip
from lvis.solvers.consistency import EIGHT_BITS, LOSSY, Consistency, consistency_of
from lvis.solvers.estimate import infill, starting_point
from lvis.solvers.half_quadratic import ill_conditioned
from lvis.solvers.shrinkage import WINDOWS, estimated_noise, without_noise


def scene(frames: int = 33, side: int = 48) -> torch.Tensor:
    """A textured square that moves over a slope, (1, 3, T, side, side)."""
    generator = torch.Generator().manual_seed(1)
    slope = torch.linspace(-0.6, 0.6, side).expand(side, side)
    texture = torch.rand(16, 16, generator=generator) - 0.5
    video = slope.expand(1, 3, frames, side, side).clone()
    for frame in range(frames):
        left = 2 + frame % 24
        video[:, :, frame, 10:26, left : left + 16] = texture
    return video


def psnr(restored: torch.Tensor, clean: torch.Tensor) -> float:
    return float(10 * torch.log10(4 / (restored - clean).square().mean()))


def eight_bits(video: torch.Tensor) -> torch.Tensor:
    return ((video.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


OPERATORS = {
    "mask": Inpainting(0.5),
    "blur": GaussianBlur(size=21, sigma=2.0),
    "downsampling": Downsampling(4, "cubic"),
    "mean": TemporalAverage(7),
    "downsampled mean": compose(Downsampling(4), TemporalAverage(7)),
    "blurred mean": compose(GaussianBlur(size=21, sigma=2.0), TemporalAverage(4)),
    "masked mean": compose(Inpainting(0.5), TemporalAverage(3)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_last_step_brings_any_estimate_nearer_to_measurement_and_truth(name):
    x = scene()
    operator = OPERATORS[name].realise(x.shape, torch.Generator().manual_seed(0))
    y = eight_bits(operator(x))
    consistency = Consistency(tau=0.1)
    blocks = [block for block, _ in blocks_of(operator, y, consistency, 3)]
    estimate = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    corrected = corrected_clip(blocks, estimate)
    assert (operator(corrected) - y).square().mean() < 0.5 * (
        operator(estimate) - y
    ).square().mean()
    assert psnr(corrected, x) > psnr(estimate, x)


def test_under_noise_the_measurement_is_not_copied():
    x = scene(9)
    operator = Identity(0.1)
    y = operator.measure(x, torch.Generator().manual_seed(0))
    block = Agreement(operator, Consistency(tau=0.1)).block(y)
    assert psnr(block.corrected(x), x) > psnr(y, x) + 6


@pytest.mark.parametrize("name", ["mean", "downsampled mean", "blurred mean", "masked mean"])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_stream_of_first_estimates_does_not_drift(name, noise):
    x = scene(97)
    operator = OPERATORS[name].realise(x.shape, torch.Generator().manual_seed(0))
    y = operator(x)
    y = eight_bits(y + noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(3)))
    operator.noise_std = noise
    restored = torch.cat([e for _, e in blocks_of(operator, y, Consistency(), 3)], dim=2)
    middle, last = (
        psnr(restored[:, :, part], x[:, :, part]) for part in (slice(33, 57), slice(73, 97))
    )
    assert last > middle - 1


def test_a_past_taken_as_exact_drifts():
    """What the covariance is for: without it the same stream gets worse."""
    x = scene(97)
    operator = TemporalAverage(7, noise_std=0.02)
    y = operator.measure(x, torch.Generator().manual_seed(0))
    agreement, naive = Agreement(operator, Consistency()), []
    state = None
    for part in [y[:, :, :9], *y[:, :, 9:].split(12, dim=2)]:
        here, offset = operator.block(state, part.shape[2])
        naive.append(here.pinv(part - offset))
        state = operator.advance(state, naive[-1])
    tracked = []
    for part in [y[:, :, :9], *y[:, :, 9:].split(12, dim=2)]:
        tracked.append(agreement.block(part).first_estimate())
        agreement.advance(tracked[-1])
    last = slice(85, 97)
    tracked_psnr = psnr(torch.cat(tracked, 2)[:, :, last], x[:, :, last])
    assert tracked_psnr > psnr(torch.cat(naive, 2)[:, :, last], x[:, :, last]) + 2


def test_gains_of_the_first_block_are_the_proximal_map():
    x = scene(9)
    for name in ("mean", "downsampled mean"):
        operator = OPERATORS[name]
        block = Agreement(operator, Consistency(tau=0.1)).block(operator(x))
        assert isinstance(block.weight, tracking.Gains)
        gamma = Consistency(tau=0.1).gamma(operator)
        expected = operator.prox(0 * x, operator(x), gamma)
        assert torch.allclose(block.corrected(0 * x), expected, atol=2e-3)


def test_masks_that_move_are_not_tracked_but_streamed():
    moving = compose(Inpainting(0.5, per_frame=True), TemporalAverage(3))
    assert isinstance(moving, Composition) and not tracking.tracks(moving)
    assert tracking.tracks(compose(Inpainting(0.5), TemporalAverage(3)))
    assert not tracking.tracks(GaussianBlur())


def test_an_unknown_operator_leaves_the_estimate():
    x = scene(9)
    block = Agreement(Unknown(), Consistency()).block(0 * x)
    assert torch.equal(block.corrected(x), x)


def test_infill_is_better_than_grey_and_keeps_what_was_observed():
    x = scene(5)
    mask = Inpainting(0.5).realise(x.shape, torch.Generator().manual_seed(0))
    filled = starting_point(mask, mask(x))
    observed = mask.observed(x.shape).expand_as(x)
    assert torch.equal(filled[observed], x[observed])
    assert psnr(filled, x) > psnr(mask(x), x) + 5


def test_infill_reaches_into_large_holes():
    video = torch.full((1, 3, 1, 64, 64), 0.5)
    missing = torch.zeros(1, 1, 1, 64, 64)
    missing[..., 8:56, 8:56] = 1
    assert torch.allclose(infill(video * (1 - missing), missing), video, atol=1e-4)


@pytest.mark.parametrize("mask", [(1, 1, 1), (2, 1, 4)])
@pytest.mark.parametrize("size", [(7, 9), (31, 50)])
def test_infill_is_four_normalised_convolutions(size, mask):
    """Plain convolutions of all frames at once, the widest first."""
    generator = torch.Generator().manual_seed(0)
    video = torch.rand(2, 3, 4, *size, generator=generator) * 2 - 1
    missing = (torch.rand(*mask, *size, generator=generator) < 0.5).float()
    missing[..., 1 : size[0] // 2, 2 : size[1] // 2] = 1
    observed = (1 - missing).expand(2, 1, 4, *size).transpose(1, 2).flatten(0, 1)
    frames = video.transpose(1, 2).flatten(0, 1)
    values = frames * observed
    filled = values.sum((2, 3), keepdim=True) / observed.sum((2, 3), keepdim=True)
    for sigma, factor in ((12.0, 8), (4.0, 4), (1.5, 1), (0.7, 1)):
        factor = factor if min(size) >= factor else 1
        average, known = plain_blur(values, sigma, factor), plain_blur(observed, sigma, factor)
        share = (known / 0.2).clamp(0, 1)
        filled = share * average / known.clamp_min(1e-6) + (1 - share) * filled
    expected = torch.where(observed.bool(), frames, filled).unflatten(0, (2, 4)).transpose(1, 2)
    assert torch.allclose(infill(video, missing), expected, atol=1e-5)


def plain_blur(images: torch.Tensor, sigma: float, factor: int) -> torch.Tensor:
    small = F.avg_pool2d(images, factor, ceil_mode=True, count_include_pad=False)
    radius = max(1, round(3 * sigma / factor))
    taps = torch.exp(-(torch.arange(-radius, radius + 1.0) ** 2) / (2 * (sigma / factor) ** 2))
    taps = taps / taps.sum()
    kernel = (taps[:, None] * taps).expand(images.shape[1], 1, -1, -1)
    small = F.conv2d(small, kernel, padding=radius, groups=images.shape[1])
    return F.interpolate(small, images.shape[2:], mode="bilinear") if factor > 1 else small


def test_shrinkage_takes_noise_and_leaves_clean_video():
    x = scene(9)
    noisy = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    assert psnr(without_noise(noisy, 0.1), x) > psnr(noisy, x) + 5
    assert torch.equal(without_noise(x, 0.0), x)
    assert psnr(without_noise(x, 0.002), x) > 50


def test_shrinkage_keeps_a_faint_colour_at_any_strength():
    """At 0.4, the first step of the half-quadratic splitting, 0.05 of colour is far below the threshold."""
    video = torch.zeros(1, 3, 5, 32, 32)
    video[:, 1] = 0.05
    for step in (4, 8):
        assert torch.allclose(without_noise(video, 0.4, step), video, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (31, 50)])
def test_shrinkage_keeps_any_size_and_a_constant(size):
    video = torch.full((2, 3, 5, *size), 0.3)
    assert torch.allclose(without_noise(video, 0.05), video, atol=1e-5)


@pytest.mark.parametrize(("moving", "better"), [(False, ((8, 4),)), (True, ((4, 2),))])
def test_still_video_is_averaged_over_more_frames_than_moving_video(moving, better):
    """Blocks of both lengths are at least as good as those of the length that fits."""
    texture = torch.nn.functional.interpolate(
        torch.rand(1, 3, 12, 24, generator=torch.Generator().manual_seed(1)) - 0.5, (48, 96)
    )
    x = torch.stack([texture.roll(3 * t * moving, 3)[..., :48] for t in range(12)], dim=2)
    noisy = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    found = {
        windows: psnr(without_noise(noisy, 0.1, windows=windows), x)
        for windows in (((4, 2),), ((8, 4),), WINDOWS)
    }
    assert max(found, key=lambda windows: found[windows]) in (better, WINDOWS)
    assert found[WINDOWS] > found[better] - 0.2


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.2])
def test_noise_is_estimated_beside_texture(noise):
    x = scene(9)
    noisy = x + noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    assert estimated_noise(x) < 0.002
    assert estimated_noise(noisy) == pytest.approx(noise, rel=0.15)


def test_compression_is_noise_that_rounding_is_not():
    operator = Identity(noise_std=0.03)
    assert Consistency().noise(operator) == operator.noise_std
    assert Consistency(floor=LOSSY).noise(operator) == pytest.approx(math.hypot(0.03, LOSSY))


def test_a_first_estimate_of_a_compressed_measurement_is_regularised():
    x = scene(9)
    operator = GaussianBlur(size=21, sigma=2.0)
    y = operator(x) + 0.03 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    rounded, lossy = (
        torch.cat([x0 for _, x0 in blocks_of(operator, y, Consistency(floor=floor), 3)], dim=2)
        for floor in (EIGHT_BITS, LOSSY)
    )
    assert psnr(lossy, x) > psnr(rounded, x) + 3


@pytest.mark.parametrize("name", ["blur", "mean", "downsampled mean", "blurred mean"])
def test_shrinkage_between_proximal_steps_beats_the_regularised_inverse_under_noise(name):
    x = scene()
    operator = OPERATORS[name].realise(x.shape)
    operator.noise_std = 0.05
    y = eight_bits(operator.measure(x, torch.Generator().manual_seed(0)))
    agreement, estimates, inverses = Agreement(operator, Consistency()), [], []
    for part in y.split([9, 12, 12], dim=2):
        block = agreement.block(part)
        estimates.append(block.first_estimate())
        inverses.append(block._moved(starting_point(block.here, block.measurement), block.start))
        agreement.advance(estimates[-1])
    found, inverse = (psnr(torch.cat(parts, dim=2), x) for parts in (estimates, inverses))
    assert found > inverse + 1


@pytest.mark.parametrize(
    ("operator", "noises"),
    [(GaussianBlur(size=9, sigma=1.2), (0.05, 0.02, 0.005)), (TemporalAverage(7), (0.05, 0.02, 0))],
)
def test_a_first_estimate_of_less_noise_is_a_better_one(operator, noises):
    x = scene()
    found = []
    for noise in noises:
        operator.noise_std = noise
        y = eight_bits(operator.measure(x, torch.Generator().manual_seed(0)))
        parts = [estimate for _, estimate in blocks_of(operator, y, Consistency(), 3)]
        found.append(psnr(torch.cat(parts, dim=2), x))
    assert found == sorted(found)


def test_a_noisy_small_video_is_enlarged_without_its_noise():
    x = scene(9)
    operator = Downsampling(2, "average", noise_std=0.1)
    y = operator.measure(x, torch.Generator().manual_seed(0))
    ((_, estimate),) = blocks_of(operator, y, Consistency(), 3)
    assert psnr(estimate, x) > psnr(operator.pinv(y), x) + 2


def test_what_shrinkage_is_for():
    kinds = {name: ill_conditioned(operator) for name, operator in OPERATORS.items()}
    assert kinds == {name: name not in ("mask", "downsampling") for name in OPERATORS}


def test_choices_are_checked():
    assert consistency_of("none") is None
    with pytest.raises(UserError, match="consistency=exact is not known"):
        consistency_of("exact")
    with pytest.raises(UserError, match="tau=0"):
        consistency_of("prox", tau=0)
