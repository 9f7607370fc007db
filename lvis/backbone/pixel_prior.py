"""An unconditional image-diffusion prior in pixel space, ADM's place in DPS and SVI: UNet2DModel of diffusers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from lvis.errors import UserError
from lvis.files import write_text
from lvis.weights import safe
from lvis.weights.resolve import Kind, resolve

WEIGHTS = "diffusion_pytorch_model.safetensors"
KIND = Kind("pixel prior", "unet", (WEIGHTS,), ("config.json", WEIGHTS))
TIMESTEPS = 1000
# Ho et al. 2020, section 4: the linear schedule that ADM keeps
FIRST_BETA, LAST_BETA = 1e-4, 0.02


class PixelPrior(nn.Module):
    """A UNet that predicts the noise of frames with T = 1000 linearly spaced betas (Ho et al. 2020).

    Args:
        net: noisy frames (N, 3, S, S) -> noise (N, 3, S, S).

    Attributes:
        size: S, the side of the square frames that it was trained on.
        alphas_cumprod: alpha_bar_t of t = 0 ... 999, float64 (T,).
    """

    alphas_cumprod: Tensor

    def __init__(self, net: UNet2DModel) -> None:
        super().__init__()
        self.net = net
        self.size = int(net.config.sample_size)
        betas = torch.linspace(FIRST_BETA, LAST_BETA, TIMESTEPS, dtype=torch.float64)
        self.register_buffer("alphas_cumprod", (1 - betas).cumprod(0), persistent=False)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> PixelPrior:
        """With random weights; `config` as of diffusers' UNet2DModel."""
        return cls(UNet2DModel(**config))

    def predict_noise(self, noisy: Tensor, timestep: int | Tensor) -> Tensor:
        """The noise in x_t, (N, 3, S, S); timestep an integer in [0, 1000) or one a frame (N,)."""
        return self.net(noisy, timestep).sample

    def alpha_bar(self, timestep: int) -> float:
        """alpha_bar_t; 1 for t < 0, the clean end of a DDIM path."""
        return float(self.alphas_cumprod[timestep]) if timestep >= 0 else 1.0


def save_pixel_prior(
    prior: PixelPrior, folder: str | Path, dtype: torch.dtype = torch.float16
) -> None:
    """Write config.json and the weights to `folder` in diffusers' layout.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = Path(folder)
    state = {key: value.to(dtype).contiguous() for key, value in prior.net.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    safe.write_tensors(folder / WEIGHTS, state, {"format": "pt"})
    write_text(
        folder / "config.json", json.dumps(json.loads(prior.net.to_json_string()), indent=2) + "\n"
    )


def load_pixel_prior(source: str) -> PixelPrior:
    """The prior that `save_pixel_prior` wrote, in float32.

    Raises:
        UserError: no such weights, or keys or shapes that differ from the architecture's.
    """
    found_files = resolve(source, KIND)
    if found_files.config is None:
        raise UserError(f"{source} has no config.json; export the prior with lvis.pretrain")
    config = safe.read_json(found_files.config)
    prior = PixelPrior.from_config({k: v for k, v in config.items() if not k.startswith("_")})
    state = found_files.state()
    wanted = {key: tuple(value.shape) for key, value in prior.net.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    if differing := sorted(set(wanted.items()) ^ set(found.items())):
        raise UserError(
            f"{source} does not fit its config.json: {differing[0][0]} and "
            f"{len(differing) - 1} more differ; export the prior again"
        )
    prior.net.load_state_dict({key: value.float() for key, value in state.items()})
    return prior.eval()
