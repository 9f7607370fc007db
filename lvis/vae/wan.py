"""Wan's VAEs, 2.1 (Wan et al. 2025, arXiv:2503.20314, section 4.1) and 2.2, with explicit streaming state.

The parameters are those of diffusers' AutoencoderKLWan, under its names in `net`. The forward pass
is ours: diffusers takes frame 0 and then 4 frames at a time through a cache that it changes in place;
as every layer is causal, all frames at once give the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanAttentionBlock,
    WanResidualBlock,
    WanResidualDownBlock,
    WanResidualUpBlock,
)
from torch import Tensor

from lvis.errors import UserError
from lvis.kernels.tf32 import tf32
from lvis.vae.base import VAEState, VideoVAE
from lvis.vae.wan_layers import (
    Stream,
    attention_block,
    causal_conv,
    downsample,
    residual_block,
    rms_norm,
    upsample,
)
from lvis.vae.wan_residual import down_block, fold, unfold, up_block


class WanVAE(VideoVAE):
    """Wan's causal VAE: 4x fewer frames, 8x smaller sides, 16 channels; shapes as in `VideoVAE`.

    That of Wan 2.2 (`is_residual`, `patch_size` 2) has 16x smaller sides and 48 channels.

    Args:
        latents_mean, latents_std: statistics per latent channel of the training set of the prior
            (Wan's own if not given); latents are (mean - latents_mean) / latents_std.
        encode_dtype, decode_dtype: what the layers compute in; inputs and parameters are cast.
            Results are float32.
        config: the other arguments of diffusers' AutoencoderKLWan; Wan 2.1's if not given.

    Raises:
        UserError: for a configuration that is not of this family.
    """

    net: Any  # AutoencoderKLWan: diffusers does not type its modules' attributes
    latents_mean: Tensor
    latents_std: Tensor

    def __init__(
        self,
        *,
        latents_mean: Sequence[float] | None = None,
        latents_std: Sequence[float] | None = None,
        encode_dtype: torch.dtype = torch.float32,
        decode_dtype: torch.dtype = torch.float32,
        **config: Any,
    ) -> None:
        super().__init__()
        _check_config(config)
        self.net = AutoencoderKLWan(**config)
        self.latent_channels = self.net.config["z_dim"]
        self.patch = self.net.config["patch_size"] or 1
        self.spatial_stride = type(self).spatial_stride * self.patch
        self.encode_dtype = encode_dtype
        self.decode_dtype = decode_dtype
        if latents_mean is None:
            latents_mean = self.net.config["latents_mean"]
        if latents_std is None:
            latents_std = self.net.config["latents_std"]
        self.set_statistics(latents_mean, latents_std)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], **dtypes: Any) -> WanVAE:
        """A VAE from a dict such as diffusers' vae/config.json; its private keys are ignored.

        `dtypes` are encode_dtype and decode_dtype.
        """
        return cls(**{k: v for k, v in config.items() if not k.startswith("_")}, **dtypes)

    @property
    def config(self) -> dict[str, Any]:
        """What `from_config` rebuilds this architecture from, statistics included."""
        config = {k: v for k, v in self.net.config.items() if not k.startswith("_")}
        config["latents_mean"] = self.latents_mean.flatten().tolist()
        config["latents_std"] = self.latents_std.flatten().tolist()
        return config

    def set_statistics(self, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> None:
        """Set latents_mean and latents_std (one positive number per channel).

        Raises:
            UserError: if their lengths are not latent_channels, or a standard deviation is <= 0.
        """
        device = next(self.net.parameters()).device
        # Statistics belong to the config, not to the checkpoint: diffusers' files do not hold them.
        # They are real tensors even when the parameters are built on the meta device.
        device = torch.device("cpu") if device.type == "meta" else device
        for name, values in (("latents_mean", mean), ("latents_std", std)):
            values = torch.as_tensor(values, dtype=torch.float32, device=device).detach().clone()
            if values.numel() != self.latent_channels:
                raise UserError(
                    f"{name} has {values.numel()} numbers for {self.latent_channels} latent "
                    "channels: give one per channel."
                )
            if name == "latents_std" and not bool((values > 0).all()):
                raise UserError(
                    "latents_std holds a number <= 0: standard deviations are positive."
                )
            self.register_buffer(name, values.view(1, -1, 1, 1, 1), persistent=False)

    def drop_decoder(self) -> None:
        """Free the decoder's parameters, more than half of all, where something else decodes."""
        self.net.decoder = self.net.post_quant_conv = None

    def encode_block(self, video: Tensor, state: VAEState = None) -> tuple[Tensor, VAEState]:
        """See `VideoVAE.encode_block`; the latents are float32."""
        mean, _, state = self._posterior(video, state)
        return self.normalise(mean), state

    def moments(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of a clip's posterior, before normalisation, each (B, 16, t, h, w).

        The log-variance is clamped to [-30, 20], as in diffusers.

        Raises:
            UserError: if the video's shape does not fit the strides.
        """
        mean, log_variance, _ = self._posterior(video, None)
        return mean, log_variance.clamp(-30.0, 20.0)

    def normalise(self, mean: Tensor) -> Tensor:
        """Latents as `encode` gives them from the posterior's means (or samples of it)."""
        return (mean - self.latents_mean) / self.latents_std

    def _posterior(self, video: Tensor, state: VAEState) -> tuple[Tensor, Tensor, VAEState]:
        self.check_video(video, begins=state is None)
        with torch.autocast(video.device.type, enabled=False), tf32(self.tf32, video.device):
            stream = Stream(state)
            folded = video if self.patch == 1 else fold(video, self.patch)
            x = folded.to(self.encode_dtype, memory_format=torch.channels_last_3d)
            x = _run_encoder(self.net.encoder, x, stream)
            x = causal_conv(self.net.quant_conv, x, stream).float()
        mean, log_variance = x.chunk(2, dim=1)
        return mean, log_variance, stream.state

    def decode_block(self, latents: Tensor, state: VAEState = None) -> tuple[Tensor, VAEState]:
        """See `VideoVAE.decode_block`; the video is float32."""
        self.check_latents(latents)
        with torch.autocast(latents.device.type, enabled=False), tf32(self.tf32, latents.device):
            stream = Stream(state)
            x = latents.float() * self.latents_std + self.latents_mean
            x = x.to(self.decode_dtype, memory_format=torch.channels_last_3d)
            x = causal_conv(self.net.post_quant_conv, x, stream)
            x = _run_decoder(self.net.decoder, x, stream).float()
        return x if self.patch == 1 else unfold(x, self.patch), stream.state


def _check_config(config: Mapping[str, Any]) -> None:
    if config.get("dropout"):
        raise UserError(
            f"dropout {config['dropout']} is not supported in the Wan VAE: set it to 0."
        )
    widths = config.get("dim_mult", [1, 2, 4, 4])
    halvings = config.get("temperal_downsample", [False, True, True])
    if len(widths) != 4 or len(halvings) != 3 or sum(halvings) != 2:
        raise UserError(
            f"a Wan VAE with dim_mult {list(widths)} and temperal_downsample {list(halvings)} does "
            "not compress 8x in space and 4x in time: give 4 and 3 entries, 2 of the latter true."
        )


def _run_encoder(encoder: Any, x: Tensor, stream: Stream) -> Tensor:
    x = causal_conv(encoder.conv_in, x, stream)
    for layer in encoder.down_blocks:
        if isinstance(layer, WanResidualBlock):
            x = residual_block(layer, x, stream)
        elif isinstance(layer, WanAttentionBlock):
            x = attention_block(layer, x)
        elif isinstance(layer, WanResidualDownBlock):
            x = down_block(layer, x, stream)
        else:
            x = downsample(layer, x, stream)
    x = _run_middle(encoder.mid_block, x, stream)
    return causal_conv(encoder.conv_out, rms_norm(encoder.norm_out, x, silu=True), stream)


def _run_decoder(decoder: Any, x: Tensor, stream: Stream) -> Tensor:
    x = causal_conv(decoder.conv_in, x, stream)
    x = _run_middle(decoder.mid_block, x, stream)
    for block in decoder.up_blocks:
        if isinstance(block, WanResidualUpBlock):
            x = up_block(block, x, stream)
            continue
        for resnet in block.resnets:
            x = residual_block(resnet, x, stream)
        if block.upsamplers is not None:
            x = upsample(block.upsamplers[0], x, stream)
    return causal_conv(decoder.conv_out, rms_norm(decoder.norm_out, x, silu=True), stream)


def _run_middle(block: Any, x: Tensor, stream: Stream) -> Tensor:
    x = residual_block(block.resnets[0], x, stream)
    for attention, resnet in zip(block.attentions, block.resnets[1:], strict=True):
        x = residual_block(resnet, attention_block(attention, x), stream)
    return x
