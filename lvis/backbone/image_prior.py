"""A latent image-diffusion prior in SDXL's shape: a UNet of diffusers, its VAE, and the null prompt's embedding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn

from lvis.backbone.ddim import scaled_linear_alphas

TIMESTEPS = 1000
# SDXL's scheduler_config.json
FIRST_BETA, LAST_BETA = 0.00085, 0.012
# of the micro-conditioning (height, width, top, left, target height, target width), SDXL section 2.2
SIZE_NUMBERS = 6


@dataclass(frozen=True)
class Embedding:
    """A prompt as SDXL's UNet reads it: tokens (1, L, D) and the pooled text (1, P)."""

    tokens: Tensor
    pooled: Tensor


class ImagePrior(nn.Module):
    """The noise of latent frames under a text-to-image model, and the way between frames and latents.

    `batch_size` images are in a network at once, and no more: with 1, memory does not grow with
    the clip (VISION-XL's pseudo-batch, Eqs. 3, 5 and 8).

    Args:
        unet: diffusers' UNet2DConditionModel with text_time embeddings that predicts the noise.
        vae: diffusers' AutoencoderKL; its latents are multiplied by `config.scaling_factor`.
        null: the embedding of the empty prompt.

    Attributes:
        factor: pixels per latent, along a side.
        stride: frames' sides must be multiples of this.
        channels: of the latents.
        alphas_cumprod: alpha_bar_t of t = 0 ... 999, float64.
        calls: images that went through each network so far.
    """

    alphas_cumprod: Tensor
    null_tokens: Tensor
    null_pooled: Tensor

    def __init__(self, unet: Any, vae: Any, null: Embedding, batch_size: int = 1) -> None:
        super().__init__()
        self.unet: Any = unet
        self.vae: Any = vae
        self.batch_size = batch_size
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.stride = self.factor * 2 ** (len(unet.config.block_out_channels) - 1)
        self.channels = int(vae.config.latent_channels)
        self.scale = float(vae.config.scaling_factor)
        self.calls = {"unet": 0, "encoder": 0, "decoder": 0}
        alphas = scaled_linear_alphas(TIMESTEPS, FIRST_BETA, LAST_BETA)
        self.register_buffer("alphas_cumprod", alphas, persistent=False)
        self.register_buffer("null_tokens", null.tokens, persistent=False)
        self.register_buffer("null_pooled", null.pooled, persistent=False)

    @classmethod
    def from_config(
        cls, unet: Mapping[str, Any], vae: Mapping[str, Any], batch_size: int = 1
    ) -> ImagePrior:
        """With random weights and a null prompt of zeros; the configs as of diffusers' classes."""
        net = UNet2DConditionModel(**unet)
        null = Embedding(torch.zeros(1, 1, token_width(net)), torch.zeros(1, pooled_width(net)))
        return cls(net, AutoencoderKL(**vae), null, batch_size)

    def encode(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] -> the posterior's mean (N, 4, h, w), scaled; float32."""

        def one(part: Tensor) -> Tensor:
            self.calls["encoder"] += len(part)
            mean = self.vae.encode(part.to(self.vae.dtype)).latent_dist.mode()
            return mean.float() * self.scale

        return self._by_parts(one, frames)

    def decode(self, latents: Tensor) -> Tensor:
        """(N, 4, h, w) -> frames (N, 3, H, W), about [-1, 1]; float32."""

        def one(part: Tensor) -> Tensor:
            self.calls["decoder"] += len(part)
            return self.vae.decode((part / self.scale).to(self.vae.dtype)).sample.float()

        return self._by_parts(one, latents)

    def noise(self, latents: Tensor, timestep: int, prompt: Embedding | None = None) -> Tensor:
        """The predicted noise in z_t (N, 4, h, w) at an integer t in [0, 1000); float32.

        Args:
            prompt: what the frames show; None is the null prompt.
        """
        text = prompt or Embedding(self.null_tokens, self.null_pooled)

        def one(part: Tensor) -> Tensor:
            self.calls["unet"] += len(part)
            return self.predict(part, torch.full((len(part),), timestep), text)

        return self._by_parts(one, latents)

    def predict(
        self, latents: Tensor, timesteps: Tensor, text: Embedding, sizes: Tensor | None = None
    ) -> Tensor:
        """The noise in one batch, with a timestep per sample (N,); differentiable; float32.

        Args:
            sizes: SDXL's size conditioning (N, 6); None is that of whole frames of this size.
        """
        count, _, height, width = latents.shape
        sides = (height * self.factor, width * self.factor)
        if sizes is None:
            sizes = torch.tensor([*sides, 0, 0, *sides]).expand(count, -1)
        kind, place = self.unet.dtype, latents.device
        added = {
            "text_embeds": text.pooled.to(place, kind).expand(count, -1),
            "time_ids": sizes.to(place, kind),
        }
        tokens = text.tokens.to(place, kind).expand(count, -1, -1)
        timesteps = timesteps.to(place)
        predicted = self.unet(latents.to(kind), timesteps, tokens, added_cond_kwargs=added)
        return predicted.sample.float()

    def alpha_bar(self, timestep: int) -> float:
        """alpha_bar_t; 1 for t < 0, the clean end of a DDIM path."""
        return float(self.alphas_cumprod[timestep]) if timestep >= 0 else 1.0

    def _by_parts(self, apply: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        return torch.cat([apply(part) for part in images.split(self.batch_size)])


def token_width(unet: Any) -> int:
    """D of the tokens that a UNet2DConditionModel attends to."""
    return int(unet.config.cross_attention_dim)


def pooled_width(unet: Any) -> int:
    """P of the pooled text that its text_time embedding takes."""
    sizes = SIZE_NUMBERS * int(unet.config.addition_time_embed_dim)
    return int(unet.config.projection_class_embeddings_input_dim) - sizes
