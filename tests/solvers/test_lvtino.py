"""LVTINO: the algorithm written out for one clip, its passes, its data steps, and what it refuses."""

import pytest
import torch

from lvis.backbone import flow
from lvis.backbone.ddim import tweedie
from lvis.errors import UserError
from lvis.operators import (
    Downsampling,
    GaussianBlur,
    Identity,
    Inpainting,
    TemporalAverage,
    compose,
)
from lvis.solvers.consistency import Consistency

SIZE = (32, 48)
CLIP = torch.rand(1, 3, 9, *SIZE, generator=torch.Generator().manual_seed(2)) * 2 - 1
OPERATORS = {
    "inpaint": Inpainting().realise(tuple(CLIP.shape)),
    "deblur": GaussianBlur(size=9, sigma=1.0),
    "sr4": Downsampling(4, "cubic"),
    "temporal_average": TemporalAverage(window=7, border="circular"),
    "spatiotemporal_average": compose(Downsampling(4), TemporalAverage(window=4)),
}


def run(solver, operator, measurement, size=SIZE, **opening):
    with solver.open(operator, size, batch=measurement.shape[0], **opening) as stream:
        assert not stream.push(measurement[:, :, :4]) and not stream.push(measurement[:, :, 4:])
        return torch.cat(stream.finish(), dim=2), stream


def residual(operator, x, measurement):
    return (operator(x) - measurement).norm() / measurement.norm()


@torch.no_grad()
def written_out(solver, operator, y):
    """Two steps, nothing shared with the solver but the networks and its numbers."""
    generator = torch.Generator().manual_seed(0)

    def video_turn(x, level):
        z = solver.vae.encode(x)
        sigma = float(flow.nearest_table_sigma(torch.tensor([level]), solver.shift))
        noisy = (1 - sigma) * z + sigma * torch.randn(z.shape, generator=generator)
        v = solver.transformer(noisy, torch.tensor([float(level)]), torch.ones(1, 2, 8))
        return solver.vae.decode(noisy - sigma * v).clamp(-1, 1)

    def image_turn(x, level):
        frames = x[0].transpose(0, 1)
        z = solver.image_prior.encode(frames)
        share = float(solver.image_prior.alpha_bar(level))
        noise = torch.randn((1, *z.shape[1:]), generator=generator)
        noisy = share**0.5 * z + (1 - share) ** 0.5 * noise
        eps = solver.image_prior.noise(noisy, level)
        decoded = solver.image_prior.decode(tweedie(noisy, eps, share))
        return decoded.transpose(0, 1)[None].clamp(-1, 1)

    x = operator.prox(torch.zeros_like(CLIP), y, solver.initial_gamma).clamp(-1, 1)
    x = operator.prox(video_turn(x, 757), y, 30.0).clamp(-1, 1)
    x = operator.prox(image_turn(x, 374), y, 50.0).clamp(-1, 1)
    return video_turn(x, 522)


def test_the_stream_is_the_algorithm(tiny_lvtino):
    solver = tiny_lvtino(
        levels=[757, 522],
        image_levels=[374],
        video_gammas=[30.0],
        image_gammas=[50.0],
    )
    operator = OPERATORS["deblur"]
    y = operator(CLIP)
    found, _ = run(solver, operator, y)
    torch.testing.assert_close(found, written_out(solver, operator, y), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", OPERATORS)
def test_every_task_is_restored_and_the_last_step_agrees_with_the_measurement(name, tiny_lvtino):
    operator = OPERATORS[name]
    y = operator(0.5 * CLIP)
    free, stream = run(tiny_lvtino(), operator, y)
    assert free.shape == CLIP.shape and free.isfinite().all() and free.abs().max() <= 1
    # five turns of the video prior; four of the image prior, which sees every frame
    video = dict.fromkeys(("video_prior", "video_encoder", "video_decoder"), 5)
    image = dict.fromkeys(("image_prior", "image_encoder", "image_decoder"), 4)
    assert stream.passes == video | image
    assert min(stream.timings[stage] for stage in ("encode", "transformer", "decode")) > 0
    solver = tiny_lvtino()
    solver.consistency = Consistency()
    corrected, _ = run(solver, operator, y)
    assert residual(operator, corrected, y) < 0.2 * residual(operator, free, y)


def test_noise_of_the_measurement_lowers_its_weight(tiny_lvtino):
    """gamma ~ 1 / noise_std^2: x noise_std and weights / noise_std^2 are the same thing."""
    y = 0.5 * CLIP
    weights = {"video_gammas": [4.0] * 4, "image_gammas": [8.0] * 4, "initial_gamma": 2.0}
    lower = {
        key: [value / 400 for value in given] if isinstance(given, list) else given / 400
        for key, given in weights.items()
    }
    noisy, _ = run(tiny_lvtino(**weights), Identity(noise_std=0.02), y)
    weaker, _ = run(tiny_lvtino(**lower), Identity(noise_std=0.001), y)
    clean, _ = run(tiny_lvtino(**weights), Identity(noise_std=0.001), y)
    torch.testing.assert_close(noisy, weaker, atol=1e-5, rtol=0)
    assert not torch.allclose(noisy, clean, atol=1e-2)


def test_any_length_and_size_and_two_clips_at_once(tiny_lvtino):
    clips = torch.cat((CLIP, CLIP.flip(4)))[:, :, :6, :29, :41]
    operator = GaussianBlur(size=9, sigma=1.0)
    found, _ = run(tiny_lvtino(attention="causal"), operator, clips, size=(29, 41))
    assert found.shape == clips.shape
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_the_seed_and_the_attention_decide(tiny_lvtino):
    operator = OPERATORS["deblur"]
    y = operator(CLIP)
    first, again, other = (run(tiny_lvtino(), operator, y, seed=s)[0] for s in (1, 1, 2))
    torch.testing.assert_close(first, again, atol=0, rtol=0)
    assert not torch.allclose(first, other, atol=1e-3)
    causal, _ = run(tiny_lvtino(attention="causal", block_size=1), operator, y, seed=1)
    assert not torch.allclose(first, causal, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"levels": [522, 757, 375, 255, 125]}, "solver.levels"),
        ({"image_levels": [374]}, "solver.image_levels has 1 values"),
        ({"video_gammas": [1.0, 1.0, 1.0, 0.0]}, "solver.video_gammas"),
        ({"attention": "both"}, "attention=both"),
    ],
)
def test_settings_out_of_range_are_named(settings, sentence, tiny_lvtino):
    with pytest.raises(UserError, match=sentence):
        tiny_lvtino(**settings)


@pytest.mark.parametrize(
    "operator", [Inpainting(space="latent"), Downsampling(4, adjoint="official")]
)
def test_operators_without_pixels_or_adjoint_are_refused(operator, tiny_lvtino):
    with pytest.raises(UserError, match="solver=lvtino"):
        tiny_lvtino().open(operator, SIZE)


def test_the_command_restores(restore, bundled_image_prior):
    status, said, restored = restore("solver=lvtino", "task=temporal_average")
    assert status == 0, said
    assert len(list(restored.glob("*.png"))) == 5


def test_the_command_says_that_there_is_no_image_prior(restore):
    status, said, _ = restore("solver=lvtino", "task=temporal_average", "++model.image_prior=null")
    assert status == 2 and "names no image prior" in said
