"""DDIM on a discrete noise schedule: Tweedie's formula, and inversion (Song et al., ICLR 2021)."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lvis.errors import UserError


def scaled_linear_alphas(steps: int, beta_start: float, beta_end: float) -> Tensor:
    """Cumulative alphas (steps,), float64, of betas that are linear in their square root.

    Stable Diffusion's schedule; SDXL's scheduler_config.json says which numbers.
    """
    roots = torch.linspace(math.sqrt(beta_start), math.sqrt(beta_end), steps, dtype=torch.float64)
    return torch.cumprod(1.0 - roots**2, dim=0)


def timesteps(steps: int, trained: int, fraction: float) -> list[int]:
    """The times in (0, `fraction` * `trained`], falling, `trained` // `steps` apart, ending at 1.

    VISION-XL's T = 25 and tau = 0.3 T over 1000 trained steps are 281, 241, ..., 1.

    Raises:
        UserError: `steps` does not lie in 1..`trained`, or `fraction` leaves no time.
    """
    if not 1 <= steps <= trained:
        raise UserError(f"steps is {steps}; set it to a value between 1 and {trained}.")
    times = [t for t in range(1, trained, trained // steps) if t <= fraction * trained]
    if not times:
        raise UserError(f"tau is {fraction}, which leaves no step; raise it or the steps.")
    return times[::-1]


def tweedie(noisy: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    """(z - sqrt(1 - a) eps) / sqrt(a), VISION-XL's eq. 4."""
    return (noisy - math.sqrt(1.0 - alpha_bar) * noise) / math.sqrt(alpha_bar)


def invert(
    clean: Tensor, predict: Callable[[Tensor, int], Tensor], levels: Sequence[tuple[int, float]]
) -> Tensor:
    """The latent at the last of `levels`, (time, alpha_bar) rising in time, from `clean`.

    Each step asks `predict` at the time it goes to, with the latent it comes from.
    """
    latent, alpha_from = clean, 1.0
    for time, alpha_bar in levels:
        noise = predict(latent, time)
        origin = tweedie(latent, noise, alpha_from)
        latent = math.sqrt(alpha_bar) * origin + math.sqrt(1.0 - alpha_bar) * noise
        alpha_from = alpha_bar
    return latent
