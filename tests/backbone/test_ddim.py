import pytest
import torch
from torch import Tensor

from lvis.backbone.ddim import invert, scaled_linear_alphas, timesteps, tweedie
from lvis.errors import UserError


def test_the_papers_times() -> None:
    assert timesteps(25, 1000, 0.3) == [281, 241, 201, 161, 121, 81, 41, 1]
    with pytest.raises(UserError, match="tau"):
        timesteps(25, 1000, 0.0)


def test_inversion_then_sampling_returns_the_input() -> None:
    """A prediction that ignores the latent makes both directions exact, level by level."""
    alphas = scaled_linear_alphas(1000, 0.00085, 0.012)
    directions = torch.randn(1000, 2, 4, dtype=torch.float64)

    def predict(latent: Tensor, time: int) -> Tensor:
        return directions[time]

    levels = [(t, alphas[t].item()) for t in reversed(timesteps(25, 1000, 0.3))]
    clean = torch.randn(2, 4, dtype=torch.float64)
    latent = invert(clean, predict, levels)
    assert not torch.allclose(latent, clean, atol=1e-2)
    reached = [1.0, *(a for _, a in levels[:-1])]
    for (time, alpha_bar), target in zip(reversed(levels), reversed(reached), strict=True):
        noise = predict(latent, time)
        latent = target**0.5 * tweedie(latent, noise, alpha_bar) + (1 - target) ** 0.5 * noise
    assert torch.allclose(latent, clean, atol=1e-9)
