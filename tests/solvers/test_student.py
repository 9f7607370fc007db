"""Algorithm 2 in one stream is the student's masked pass over the whole clip."""

import pytest
import torch
import torch.nn.functional as F

from lvis.errors import UserError
from lvis.operators import Downsampling, GaussianBlur, Inpainting
from lvis.solvers import student_prediction

CLIP = torch.rand(1, 3, 33, 32, 48, generator=torch.Generator().manual_seed(2)) * 2 - 1


def stream_restore(student, operator, measurement):
    with student.open(operator, tuple(measurement.shape[-2:])) as stream:
        return torch.cat([*stream.push(measurement), *stream.finish()], dim=2)


@torch.no_grad()
def clip_restore(student, latents):
    timestep = torch.full((1,), student.timestep)
    text = torch.ones(1, 2, 8)
    velocity = student.transformer(latents, timestep, text, block_size=3)
    clean = student_prediction(latents, velocity, timestep, student.parametrization)
    return student.vae.decode(clean).clamp(-1, 1)


@pytest.mark.parametrize("parametrization", ["flow", "residual", "x0"])
def test_streaming_is_the_block_causal_pass_over_the_clip(parametrization, tiny_student):
    student = tiny_student(parametrization=parametrization)
    operator = GaussianBlur(size=9, sigma=1.0)
    measurement = operator(CLIP)
    with torch.no_grad():
        expected = clip_restore(student, student.vae.encode(operator.lift(measurement)))
    torch.testing.assert_close(
        stream_restore(student, operator, measurement), expected, atol=1e-4, rtol=0
    )


def test_a_mask_on_latents_acts_after_the_encoder(tiny_student):
    student = tiny_student()
    operator = Inpainting(space="latent", per_frame=True).realise((1, 16, 9, 4, 6))
    with torch.no_grad():
        expected = clip_restore(student, operator(student.vae.encode(CLIP)))
    torch.testing.assert_close(stream_restore(student, operator, CLIP), expected, atol=1e-4, rtol=0)


def test_a_low_resolution_clip_is_encoded_as_it_is_and_its_latents_upsampled(tiny_student):
    student = tiny_student(x_init="latents")
    operator = Downsampling(factor=2)
    measurement = operator(CLIP)
    with torch.no_grad():
        small = student.vae.encode(measurement)
        frames = [F.interpolate(small[:, :, t], scale_factor=2, mode="bilinear") for t in range(9)]
        z_in = torch.stack(frames, dim=2)
        expected = clip_restore(student, z_in)
    with student.open(operator, (32, 48)) as stream:
        found = torch.cat([*stream.push(measurement), *stream.finish()], dim=2)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_latents_that_do_not_fit_are_one_sentence(tiny_student):
    for operator, size in ((Downsampling(factor=4), (32, 48)), (GaussianBlur(5, 1.0), (32, 48))):
        student = tiny_student(x_init="latents")
        with (
            student.open(operator, size) as stream,
            pytest.raises(UserError, match="use x_init=lift"),
        ):
            stream.push(operator(CLIP))


def test_the_context_pass_changes_what_later_blocks_see_and_only_that(tiny_student):
    operator = GaussianBlur(size=9, sigma=1.0)
    plain = stream_restore(tiny_student(), operator, CLIP)
    with_context = stream_restore(tiny_student(context_pass=True), operator, CLIP)
    torch.testing.assert_close(with_context[:, :, :9], plain[:, :, :9])
    assert not torch.allclose(with_context[:, :, 9:], plain[:, :, 9:], atol=1e-4)


def test_the_prompt_reaches_the_transformer(tiny_student):
    student = tiny_student()
    student.embed_text = lambda prompts: torch.full((1, 2, 8), float(len(prompts[0])))
    operator = GaussianBlur(size=9, sigma=1.0)
    with (
        student.open(operator, (32, 48)) as null,
        student.open(operator, (32, 48), prompt="a dog") as prompted,
    ):
        assert not torch.allclose(null.push(CLIP[:, :, :9])[0], prompted.push(CLIP[:, :, :9])[0])


def test_an_unknown_input_is_named_with_the_known_ones(tiny_student):
    with pytest.raises(UserError, match="x_init=adjoint.*lift, pinv"):
        tiny_student(x_init="adjoint")
