"""An unconditional image-diffusion prior in pixel space, ADM's place in DPS and SVI: UNet2DModel of diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

TIMESTEPS = 1000
# Ho et al. 2020, section 4: the linear schedule that ADM keeps
FIRST_BETA, LAST_BETA = 1e-4, 0.02


class PixelPrior(nn.Module):
    """A UNet that predicts the noise of frames with T = 1000 linearly spaced betas (Ho et al. 2020).

    Args:
        net: noisy frames (N, 3, S, S) -> noise (N, 3, S, S).

    Attributes:
        size: S, the side of the square frames that it was trained on.
        alphas_cumprod: alpha_bar_t of t = 0 ... 999, float64 (T,), on the host, where they are read as numbers.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net: Any = net
        self.size = int(net.config.sample_size)
        betas = torch.linspace(FIRST_BETA, LAST_BETA, TIMESTEPS, dtype=torch.float64)
        self.alphas_cumprod = (1 - betas).cumprod(0)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> PixelPrior:
        """With random weights; `config` as of diffusers' UNet2DModel."""
        return cls(UNet2DModel(**config))

    def predict_noise(self, noisy: Tensor, timestep: int | Tensor) -> Tensor:
        """The noise in x_t, (N, 3, S, S); timestep an integer in [0, 1000) or one per frame (N,)."""
        return self.net(noisy, timestep).sample

    def alpha_bar(self, timestep: int) -> float:
        """alpha_bar_t; 1 for t < 0, the clean end of a DDIM path."""
        return float(self.alphas_cumprod[timestep]) if timestep >= 0 else 1.0
