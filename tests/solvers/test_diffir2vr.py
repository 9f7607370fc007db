"""DiffIR2VR-Zero: warped latents and merged tokens follow the motion, the data step, what is refused."""

import pytest
import torch
from diffusers.models.attention_processor import Attention

from lvis.backbone.ddim import scaled_linear_alphas
from lvis.errors import UserError
from lvis.operators import (
    Downsampling,
    GaussianBlur,
    Identity,
    Inpainting,
    TemporalAverage,
    compose,
)
from lvis.solvers.diffir2vr import DiffIR2VRSolver, Group, follow
from lvis.solvers.optical_flow import DISFlow
from lvis.solvers.token_merging import (
    Correspondence,
    MergedTokens,
    falling,
    merging,
    token_grid,
)

SIZE = (32, 48)
CLIP = torch.rand(1, 3, 5, *SIZE, generator=torch.Generator().manual_seed(2)) * 2 - 1


class GaussianPrior:
    """The exact noise predictor of frames with a spectrum that falls off; the latents are the frames."""

    stride, batch_size = 1, 64

    def __init__(self, height: int, width: int) -> None:
        self.unet = torch.nn.Module()
        self.alphas = scaled_linear_alphas(1000, 0.00085, 0.012)
        rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)
        power = (rows**2 + columns**2 + 0.004) ** -1.5
        self.power = 0.1 * power / power.mean()

    def filtered(self, frames, gain):
        return torch.fft.ifft2(torch.fft.fft2(frames) * gain).real

    def encode(self, frames):
        return frames

    def decode(self, latents):
        return latents

    def alpha_bar(self, timestep):
        return float(self.alphas[timestep])

    def noise(self, latents, timestep):
        share = self.alpha_bar(timestep)
        gain = share**0.5 * self.power / (share * self.power + 1 - share)
        return (latents - share**0.5 * self.filtered(latents, gain)) / (1 - share) ** 0.5


def build(prior, **settings) -> DiffIR2VRSolver:
    return DiffIR2VRSolver(prior, DISFlow(), **{"steps": 10, "group": 3, **settings})


def run(solver, operator, measurement, size=SIZE, **opening):
    with solver.open(operator, size, batch=measurement.shape[0], **opening) as stream:
        assert not stream.push(measurement)
        return torch.cat(stream.finish(), dim=2), stream


def moving(key: int, frames: int, step: int, size: tuple[int, int]) -> Correspondence:
    """Content that moves `step` pixels to the right a frame, seen from every frame in the keyframe."""
    flow = torch.zeros(frames, 2, *size)
    seen = torch.ones(frames, 1, *size, dtype=torch.bool)
    for frame in range(frames):
        away = (key - frame) * step
        flow[frame, 0] = away
        columns = torch.arange(size[1]) + away
        seen[frame, 0] = (columns >= 0) & (columns < size[1])
    return Correspondence(key, flow, seen)


def test_latents_follow_from_keyframe_to_keyframe_and_then_within_the_groups():
    """A pattern that moves one latent (8 pixels) a frame: six noisy copies become the first keyframe's."""
    pattern = torch.randn(4, 6, 40)
    true = torch.stack([pattern[..., 20 - t : 32 - t] for t in range(6)], dim=1)[None]
    clean = true + 0.3 * torch.randn_like(true)
    pixels = (48, 96)
    # keyframe 4 shows at column c what keyframe 1 shows at c - 3
    outer = Correspondence(0, torch.zeros(1, 2, *pixels), torch.ones(1, 1, *pixels).bool())
    outer.flow[:, 0] = -24
    outer.seen[..., :24] = False
    inner = moving(1, 3, 8, pixels)
    groups = [Group(0, 3, inner, None), Group(3, 6, inner, outer)]
    followed = follow(clean, groups)
    torch.testing.assert_close(followed[0, :, 1], clean[0, :, 1])  # the first keyframe stays
    reference = clean[0, :, 1]
    torch.testing.assert_close(followed[0, :, 4, :, 3:], reference[..., :-3], atol=1e-4, rtol=0)
    torch.testing.assert_close(followed[0, :, 4, :, :3], clean[0, :, 4, :, :3])  # hidden: stays
    torch.testing.assert_close(followed[0, :, 5, :, 4:], reference[..., :-4], atol=1e-4, rtol=0)
    torch.testing.assert_close(followed[0, :, 2, :, 1:], reference[..., :-1], atol=1e-4, rtol=0)
    torch.testing.assert_close(followed[0, :, 2, :, :1], clean[0, :, 2, :, :1])


def test_tokens_of_moving_content_merge_with_their_own():
    """Tokens that move one place a frame, 8 pixels: merging all that match loses nothing."""
    line = torch.randn(20, 5)
    tokens = torch.stack([line[4 - t : 16 - t] for t in range(3)])  # (N, L, C), a row of 12 tokens
    motion = moving(1, 3, 8, (8, 96))
    target, matched = motion.tokens((1, 12))
    assert target[0, :11].tolist() == list(range(1, 12)) and not matched[0, 11]
    merged = MergedTokens(tokens, 1, target, matched, 1.0)
    # 12 of the keyframe, and one of each other frame that it does not show
    assert merged.sequence.shape == (1, 14, 5)
    torch.testing.assert_close(merged.sequence[0, :12], tokens[1])
    torch.testing.assert_close(merged.spread(merged.sequence), tokens)


def test_the_most_similar_pairs_merge_first_and_get_their_mean():
    tokens = torch.zeros(2, 2, 3)
    tokens[0, 0], tokens[0, 1] = torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])
    tokens[1, 0], tokens[1, 1] = torch.tensor([3.0, 0, 0]), torch.tensor([0, 0, 1.0])
    target = torch.tensor([[0, 1], [0, 1]])
    merged = MergedTokens(tokens, 0, target, torch.ones(2, 2).bool(), 0.5)
    torch.testing.assert_close(
        merged.sequence[0], torch.tensor([[2.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    )
    spread = merged.spread(merged.sequence)
    assert spread[1, 0].tolist() == [2, 0, 0] and spread[1, 1].tolist() == [0, 0, 1]


def test_merging_ties_the_frames_and_is_taken_off_again(frame_prior):
    """Self-attention across frames: a change in one frame reaches another, within the block only."""
    before = [m.processor for m in frame_prior.unet.modules() if isinstance(m, Attention)]
    latents = torch.randn(3, 4, 4, 6)
    changed = latents.clone()
    changed[2] += 1
    motion = moving(1, 3, 0, SIZE)
    with torch.no_grad():
        apart = frame_prior.noise(latents, 100)
        assert torch.equal(frame_prior.noise(changed, 100)[0], apart[0])
        with merging(frame_prior.unet, motion, 0.5, SIZE):
            tied = frame_prior.noise(latents, 100)
            assert not torch.allclose(frame_prior.noise(changed, 100)[0], tied[0], atol=1e-5)
        with merging(frame_prior.unet, motion, 1.0, SIZE):
            same = frame_prior.noise(latents[:1].expand(3, -1, -1, -1), 100)
        again = frame_prior.noise(latents, 100)
        alone = frame_prior.noise(latents[:1], 100)
    torch.testing.assert_close(again, apart)
    # one frame three times over, all merged, attends to itself as it does alone
    torch.testing.assert_close(same, alone.expand(3, -1, -1, -1), atol=1e-4, rtol=0)
    after = [m.processor for m in frame_prior.unet.modules() if isinstance(m, Attention)]
    assert all(one is other for one, other in zip(before, after, strict=True))


def test_the_grid_of_tokens_and_the_falling_ratio():
    assert token_grid(24, (32, 48)) == (4, 6) and token_grid(6, (32, 48)) == (2, 3)
    ratio = falling(0.6)
    assert ratio(0) == 0.6 and ratio(0.5) == pytest.approx(0.3) and ratio(1) == pytest.approx(0)


@pytest.mark.parametrize(
    "operator", [Downsampling(4, "cubic"), Downsampling(4), Identity(noise_std=0.2)]
)
def test_the_measurement_holds_whatever_the_prior_says(operator, frame_prior):
    y = operator.measure(0.5 * CLIP, torch.Generator().manual_seed(0))
    trusting, stream = run(build(frame_prior, prior_weight=1e6), operator, y)
    assert trusting.shape == CLIP.shape and trusting.isfinite().all()
    # four of ten steps, every frame once a step
    images = dict.fromkeys(("image_prior", "image_encoder", "image_decoder"), 4)
    # to and from the keyframe for each of five frames, and between two keyframes
    assert stream.passes == {**images, "flow": 12 / 5}
    assert min(stream.timings[stage] for stage in ("encode", "transformer", "decode")) > 0
    held, _ = run(build(frame_prior, prior_weight=1e-3), operator, y)

    def residual(x):
        return (operator(x) - y).norm()

    assert residual(held) < 0.2 * residual(trusting)


def test_with_the_exact_prior_it_denoises_as_the_best_linear_filter_does():
    prior, size = GaussianPrior(48, 64), (48, 64)
    torch.manual_seed(0)
    frame = prior.filtered(torch.randn(1, 3, 1, *size), prior.power.sqrt()).clamp(-1, 1)
    clean = frame.expand(-1, -1, 3, -1, -1)

    def error(x):
        return (x - clean).square().mean()

    denoise, sr4 = Identity(noise_std=0.2), Downsampling(4)
    noisy = denoise.measure(clean, torch.Generator().manual_seed(1))
    best = error(prior.filtered(noisy, prior.power / (prior.power + 0.2**2)))
    found, _ = run(build(prior, steps=25), denoise, noisy, size=size)
    assert error(found) < 1.1 * best < 0.5 * error(noisy)
    found, _ = run(build(prior, steps=25), sr4, sr4(clean), size=size)
    assert error(found) < 0.1 * error(sr4.pinv(sr4(clean)))


def test_batches_lengths_sizes_and_seeds(frame_prior):
    operator = Identity(noise_std=0.2)
    clips = torch.cat((CLIP, CLIP.flip(4)))[..., :29, :41]
    solver = build(frame_prior)
    both, _ = run(solver, operator, clips, size=(29, 41), seed=1)
    again, _ = run(solver, operator, clips, size=(29, 41), seed=1)
    other, _ = run(solver, operator, clips, size=(29, 41), seed=2)
    assert both.shape == clips.shape
    torch.testing.assert_close(both, again, atol=0, rtol=0)
    assert not torch.allclose(both, other, atol=1e-3)
    assert run(solver, operator, CLIP[:, :, :1])[0].shape == (1, 3, 1, *SIZE)


def test_warping_and_merging_matter(frame_prior):
    operator = Downsampling(4)
    y = operator(CLIP)
    plain, _ = run(build(frame_prior, warp_share=0.0, merge_ratio=0.0), operator, y)
    for tie in ({"merge_ratio": 0.0}, {"warp_share": 0.0}):
        tied, _ = run(build(frame_prior, **tie), operator, y)
        assert not torch.allclose(tied, plain, atol=1e-4)


@pytest.mark.parametrize(
    "operator",
    [
        Inpainting(),
        GaussianBlur(),
        TemporalAverage(),
        compose(Downsampling(4), TemporalAverage()),
    ],
)
def test_other_tasks_are_refused_by_name(operator, frame_prior):
    with pytest.raises(UserError, match="task=sr4 or task=denoise"):
        build(frame_prior).open(operator, SIZE)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"tau": 1.5}, "solver.tau=1.5"),
        ({"group": 0}, "solver.group=0"),
        ({"group": 65}, "takes 64 frames at once"),
        ({"flow_blur": -1.0}, "flow_blur=-1.0"),
    ],
)
def test_settings_out_of_range_are_named(settings, sentence, frame_prior):
    with pytest.raises(UserError, match=sentence):
        build(frame_prior, **settings)


def test_the_description_says_which_flow(frame_prior):
    assert build(frame_prior).description == "diffir2vr with DIS flow"


def test_the_command_restores(restore, bundled_image_prior):
    status, said, restored = restore("solver=diffir2vr", "task=denoise")
    assert status == 0, said
    assert len(list(restored.glob("*.png"))) == 5


def test_the_command_says_that_there_is_no_image_prior(restore):
    status, said, _ = restore("solver=diffir2vr", "task=denoise", "++model.image_prior=null")
    assert status == 2 and "names no image prior" in said
