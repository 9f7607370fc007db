"""A sampler to look at what a bidirectional transformer has learnt."""

import math
from collections.abc import Collection

import torch
from torch import Tensor

from lvis.backbone.flow import add_noise, shift_sigma, sigma_to_timestep, velocity_to_x0
from lvis.backbone.guidance import guided_velocity
from lvis.backbone.transformer import WanTransformer


@torch.no_grad()
def sample(
    transformer: WanTransformer,
    shape: tuple[int, int, int, int, int],
    text: Tensor,
    null_text: Tensor,
    steps: int = 50,
    shift: float = 5.0,
    scale: float = 5.0,
    generator: torch.Generator | None = None,
    convention: str = "standard",
    eta: float = 0.0,
    perturbation: float = 0.0,
    perturbed_layers: Collection[int] = (),
) -> Tensor:
    """Latents drawn by the bidirectional model, from sigma 1 to 0 on the shifted schedule.

    Args:
        shape: (B, 16, t, h, w).
        scale, convention: of the guidance, see `guided_velocity`.
        generator: on the transformer's device.
        eta: fresh noise per step (DDIM, arXiv 2010.02502, eq. 16): 0 is Euler's method on the flow's
            ODE, 1 ancestral sampling, which forgets the mistakes of earlier steps.
        perturbation: scale of perturbed-attention guidance (arXiv 2403.17377, eq. 15): away from
            what the model answers when tokens of `perturbed_layers` attend to themselves alone.

    Returns:
        float32 latents of `shape`.
    """
    device = transformer.device
    latents = torch.randn(shape, generator=generator, device=device)
    sigmas = shift_sigma(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift).tolist()
    for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
        timestep = sigma_to_timestep(torch.tensor(sigma)).expand(shape[0]).to(device)
        velocity = guided_velocity(
            transformer, latents, timestep, text, null_text, scale, convention
        )
        if perturbation:
            padded = transformer.pad_text(text).expand(shape[0], -1, -1)
            intact = transformer(latents, timestep, padded)
            blind = transformer(latents, timestep, padded, perturbed=perturbed_layers)
            velocity = velocity + perturbation * (intact - blind)
        x0 = velocity_to_x0(latents, velocity, sigma)
        noise = x0 + velocity
        if eta:
            share = fresh_share(sigma, following, eta)
            drawn = torch.randn(shape, generator=generator, device=device)
            noise = math.sqrt(1 - share) * noise + math.sqrt(share) * drawn
        latents = add_noise(x0, noise, following)
    return latents


def fresh_share(sigma: float, following: float, eta: float) -> float:
    """The part of the noise's variance that a step from `sigma` to `following` draws anew.

    DDIM's eq. 16 in terms of the signal-to-noise ratio r = ((1 - sigma) / sigma)^2:
    eta^2 (1 - r / r'), at most 1.
    """
    if following == 0:
        return 0.0
    ratio = ((1 - sigma) * following / (sigma * (1 - following))) ** 2
    return min(1.0, eta**2 * (1 - ratio))
