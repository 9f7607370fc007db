"""Pretraining of the pixel-space image prior on frames of synthetic clips (Ho et al. 2020, Algorithm 1)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lvis.backbone.pixel_prior import TIMESTEPS, PixelPrior


def noise_prediction_loss(prior: PixelPrior, autocast: bool) -> Callable[[dict], dict[str, Tensor]]:
    """|eps - eps_theta(x_t, t)|^2 over uniform t, for batches with "video" (B, 3, T, S, S)."""

    def loss_of(batch: dict) -> dict[str, Tensor]:
        frames = batch["video"].transpose(1, 2).flatten(0, 1)
        timestep = torch.randint(0, TIMESTEPS, (len(frames),))
        error = _error(prior, frames, timestep, torch.randn_like(frames), autocast)
        return {"loss": error}

    return loss_of


def noise_errors(
    prior: PixelPrior, frames: Tensor, autocast: bool
) -> Callable[[], dict[str, float]]:
    """A validation: the loss on held-out frames (N, 3, S, S) at four fixed noise levels."""
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))

    def validate() -> dict[str, float]:
        return {
            f"mse_t{t}": _error(
                prior, frames, torch.full((len(frames),), t), noise, autocast
            ).item()
            for t in (50, 250, 500, 900)
        }

    return validate


def _error(
    prior: PixelPrior, frames: Tensor, timestep: Tensor, noise: Tensor, autocast: bool
) -> Tensor:
    share = prior.alphas_cumprod.to(timestep.device)[timestep].float().view(-1, 1, 1, 1)
    noisy = (share.sqrt() * frames + (1 - share).sqrt() * noise).contiguous(
        memory_format=torch.channels_last
    )
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        predicted = prior.predict_noise(noisy, timestep)
    return F.mse_loss(predicted.float(), noise)
