import pytest
import torch

from lvis.backbone import sample
from lvis.backbone.sampling import fresh_share

STD = 0.5


@pytest.fixture
def null_text():
    return torch.zeros(1, 5, 12)


class Gaussian(torch.nn.Module):
    """The exact velocity of x0 ~ N(0, STD^2)."""

    device = torch.device("cpu")
    pad_text = staticmethod(lambda text: text)

    def forward(self, latents, timestep, text, perturbed=()):
        sigma = (timestep / 1000).view(-1, 1, 1, 1, 1)
        x0 = latents * (1 - sigma) * STD**2 / ((1 - sigma) ** 2 * STD**2 + sigma**2)
        return (latents - x0) / sigma


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_fresh_noise_keeps_the_distribution(text, null_text, eta):
    generator = torch.Generator().manual_seed(0)
    shape = (2, 16, 3, 16, 16)
    drawn = sample(
        Gaussian(), shape, text, null_text, steps=300, shift=1.0, generator=generator, eta=eta
    )
    assert drawn.std().item() == pytest.approx(STD, rel=0.03)


def test_the_share_of_fresh_noise_is_ddims():
    # eq. 16 for abar = r / (1 + r), divided by the variance 1 - abar' of all noise
    sigma, following, eta = 0.7, 0.6, 0.8
    abar, abar_next = (
        (1 - level) ** 2 / ((1 - level) ** 2 + level**2) for level in (sigma, following)
    )
    variance = eta**2 * (1 - abar_next) / (1 - abar) * (1 - abar / abar_next)
    assert fresh_share(sigma, following, eta) == pytest.approx(variance / (1 - abar_next))
    assert fresh_share(0.3, 0.0, 1.0) == 0


def test_perturbed_layers_change_only_what_they_are_asked_to(transformer, draw_latents, text):
    latents, timestep = draw_latents(3), torch.tensor([700.0, 30.0])
    with torch.no_grad():
        plain = transformer(latents, timestep, text)
        blind = transformer(latents, timestep, text, perturbed=(0,))
        assert torch.equal(plain, transformer(latents, timestep, text, perturbed=()))
    assert not torch.allclose(plain, blind)


def test_without_attention_no_token_sees_another(transformer, draw_latents, text):
    latents, timestep = draw_latents(3), torch.tensor([700.0, 30.0])
    changed = latents.clone()
    changed[..., -2:, -2:] += 1
    layers = range(len(transformer.net.blocks))
    with torch.no_grad():
        before = transformer(latents, timestep, text, perturbed=layers)
        after = transformer(changed, timestep, text, perturbed=layers)
    assert torch.equal(before[..., :-2, :-2], after[..., :-2, :-2])
    assert not torch.equal(before[..., -2:, -2:], after[..., -2:, -2:])


def test_perturbed_attention_guidance_adds_the_difference(
    transformer, draw_latents, text, null_text
):
    # one step: x0 = noise - velocity, so two scales differ by the difference of the two answers
    shape = tuple(draw_latents(3).shape)

    def draw(perturbation):
        return sample(
            transformer, shape, text, null_text, steps=1, scale=1.0,
            generator=torch.Generator().manual_seed(0),
            perturbation=perturbation, perturbed_layers=(0,),
        )  # fmt: skip

    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    timestep = torch.full((shape[0],), 1000.0)
    with torch.no_grad():
        difference = transformer(noise, timestep, text) - transformer(
            noise, timestep, text, perturbed=(0,)
        )
    torch.testing.assert_close(draw(0.0) - draw(2.0), 2 * difference, rtol=0, atol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_sampler_follows_a_known_flow(text, null_text, eta):
    # the velocity (x - 1) / sigma points at x0 = 1 from anywhere: Euler must arrive there
    class Straight(torch.nn.Module):
        device = torch.device("cpu")
        pad_text = staticmethod(lambda text: text)

        def forward(self, latents, timestep, text):
            return (latents - 1) / (timestep / 1000).view(-1, 1, 1, 1, 1)

    shape = (2, 16, 3, 4, 6)
    arrived = sample(Straight(), shape, text, null_text, steps=7, shift=3.0, eta=eta)
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
