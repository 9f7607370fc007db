import pytest
import torch

from lvis.backbone import guided_velocity, sample
from lvis.errors import UserError


@pytest.fixture
def null_text():
    return torch.zeros(1, 5, 12)


@pytest.mark.parametrize(
    ("convention", "text_weight", "null_weight"), [("standard", 3.5, -2.5), ("causvid", 4.5, -3.5)]
)
def test_the_conventions(
    transformer, draw_latents, text, null_text, convention, text_weight, null_weight
):
    latents, timestep = draw_latents(3), torch.tensor([700.0, 30.0])
    with torch.no_grad():
        guided = guided_velocity(transformer, latents, timestep, text, null_text, 3.5, convention)
        conditional = transformer(latents, timestep, text)
        unconditional = transformer(latents, timestep, null_text.expand(2, -1, -1))
    expected = text_weight * conditional + null_weight * unconditional
    torch.testing.assert_close(guided, expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize(("convention", "scale"), [("standard", 1.0), ("causvid", 0.0)])
def test_no_guidance_costs_one_pass(transformer, draw_latents, text, null_text, convention, scale):
    latents, timestep = draw_latents(3), torch.tensor([700.0, 30.0])
    batch_sizes = []
    transformer.register_forward_pre_hook(lambda _, args: batch_sizes.append(args[0].shape[0]))
    with torch.no_grad():
        guided = guided_velocity(transformer, latents, timestep, text, null_text, scale, convention)
        assert torch.equal(guided, transformer(latents, timestep, text))
    assert batch_sizes == [2, 2]


def test_an_unknown_convention_is_refused(transformer, draw_latents, text, null_text):
    with pytest.raises(UserError, match="'imagen' is unknown"):
        guided_velocity(transformer, draw_latents(3), torch.ones(2), text, null_text, 2.0, "imagen")


def test_the_sampler_follows_a_known_flow(transformer, text, null_text):
    # the velocity (x - 1) / sigma points at x0 = 1 from anywhere: Euler must arrive there
    class Straight(torch.nn.Module):
        device = torch.device("cpu")
        pad_text = staticmethod(lambda text: text)

        def forward(self, latents, timestep, text):
            return (latents - 1) / (timestep / 1000).view(-1, 1, 1, 1, 1)

    shape = (2, 16, 3, 4, 6)
    arrived = sample(Straight(), shape, text, null_text, steps=7, shift=3.0)
    torch.testing.assert_close(arrived, torch.ones(shape), rtol=0, atol=1e-4)


def test_the_sampler_repeats_with_its_generator(transformer, text, null_text):
    draws = [
        sample(
            transformer,
            (2, 16, 3, 4, 6),
            text,
            null_text,
            steps=2,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
