"""Flow matching: x_sigma = (1 - sigma) x0 + sigma noise, velocity = noise - x0, t = 1000 sigma.

Pure functions. A sigma is a float or a tensor: a scalar, (B,) for a noise level per sample, or (B, t)
for one per latent frame. Arithmetic is float32 at least, whatever the latents are.
"""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

NUM_TIMESTEPS = 1000
Level = TypeVar("Level", float, Tensor)


def shift_sigma(sigma: Level, shift: float) -> Level:
    """sigma' = s sigma / (1 + (s - 1) sigma): s > 1 spends more of the path at high noise."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def sigma_to_timestep(sigma: Tensor) -> Tensor:
    """The float32 timestep in [0, 1000] that the transformer takes."""
    return (sigma * NUM_TIMESTEPS).float()


def add_noise(x0: Tensor, noise: Tensor, sigma: float | Tensor) -> Tensor:
    """x_sigma = (1 - sigma) x0 + sigma noise, in the dtype of `x0`."""
    level = level_of(sigma, x0)
    return ((1 - level) * wide(x0) + level * wide(noise)).to(x0.dtype)


def velocity_to_x0(x_sigma: Tensor, velocity: Tensor, sigma: float | Tensor) -> Tensor:
    """x0 = x_sigma - sigma velocity, in the dtype of `x_sigma`."""
    return (wide(x_sigma) - level_of(sigma, x_sigma) * wide(velocity)).to(x_sigma.dtype)


def step_sigmas(steps: Sequence[float], shift: float, warp: bool) -> list[float]:
    """The noise levels of a few-step sampler.

    Args:
        steps: noise levels in [0, 1], descending.
        warp: True reads them as indices into the shifted schedule, as Self-Forcing does with
            [1000, 750, 500, 250] (shift 5: 1, 0.9375, 0.8333, 0.625); False takes them literally.
    """
    return [float(shift_sigma(step, shift)) if warp else float(step) for step in steps]


def sigma_table(shift: float) -> Tensor:
    """The 1000 shifted noise levels of Wan's schedule, descending from 1; float64."""
    return shift_sigma(torch.arange(NUM_TIMESTEPS, 0, -1, dtype=torch.float64) / 1000, shift)


def nearest_table_sigma(timestep: Tensor, shift: float) -> Tensor:
    """The level of `sigma_table` nearest to each timestep; float32, of the timestep's shape.

    Self-Forcing, CausVid and InstantViR convert velocities with this level and not with t / 1000:
    at t = 0 it is 0.0050 (shift 5) or 0.0079 (shift 8).
    """
    table = sigma_table(shift).to(timestep.device)
    distance = (table * NUM_TIMESTEPS - timestep.double().unsqueeze(-1)).abs()
    return table[distance.argmin(dim=-1)].float()


def sample_timesteps(
    batch_size: int,
    shift: float,
    minimum: float = 20.0,
    maximum: float = 980.0,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """One training timestep per sample: uniform over {0, ..., 999}, shifted, clamped.

    Returns:
        float32 (batch_size,) in [minimum, maximum]. The defaults are those of DMD; the generator
        lives on `device`.
    """
    index = torch.randint(NUM_TIMESTEPS, (batch_size,), generator=generator, device=device)
    shifted = shift_sigma(index.double() / NUM_TIMESTEPS, shift) * NUM_TIMESTEPS
    return shifted.clamp(minimum, maximum).float()


def wide(latents: Tensor) -> Tensor:
    return latents.to(torch.promote_types(latents.dtype, torch.float32))


def level_of(sigma: float | Tensor, latents: Tensor) -> float | Tensor:
    """`sigma` in a shape that broadcasts over (B, C, t, h, w)."""
    if not isinstance(sigma, Tensor) or sigma.ndim == 0:
        return sigma
    level = wide(sigma).to(latents.device)
    if level.ndim == 1:
        return level.view(-1, 1, 1, 1, 1)
    assert level.shape == (latents.shape[0], latents.shape[2]), (level.shape, latents.shape)
    return level[:, None, :, None, None]
