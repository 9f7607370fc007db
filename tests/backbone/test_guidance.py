import pytest
import torch

from lvis.backbone import guided_velocity
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
