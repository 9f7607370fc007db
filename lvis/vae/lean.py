"""LeanVAE (Cheng and Yuan, 2025): Haar wavelets, a NAF backbone, an ISTA bottleneck.

Parameters have their official names, so that LeanVAE's checkpoints load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvis.errors import UserError
from lvis.kernels.linear import linear
from lvis.kernels.tf32 import tf32
from lvis.vae import haar
from lvis.vae.base import VAEState, VideoVAE
from lvis.vae.ista import ISTABottleneck, ISTAPast
from lvis.vae.naf import NAF, Past

# Wan2.1's latent statistics, which the aligned variant applies
WAN21_LATENTS_MEAN = (
    *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
    *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
)
WAN21_LATENTS_STD = (
    *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
    *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160),
)

# half the width of the pixel range that each variant was trained on
PIXEL_SCALE = {"stock": 0.5, "wan2.1": 1.0}

# memory of the low-band, high-band and fused layers
StagePast = tuple[Past, Past, Past]


class LeanVAE(VideoVAE):
    """LeanVAE in one of its variants, whole clip and as a stream; shapes as in `VideoVAE`.

    Args:
        latent_dim: latent channels.
        low_width, high_width: features of the low band and of the high bands; the bottleneck has
            their sum.
        branch_layers, fusion_layers, ista_layers: layers of a NAF for one kind of band, for both
            together, and inside an ISTA iteration.
        ista_iter_num: unrolled ISTA iterations of the decoder.
        variant: "stock" (pixels within +-0.5, latents as they come) or "wan2.1" (aligned with
            Wan2.1: pixels within +-1, Wan's statistics). Callers use [-1, 1] with both.
        latents_mean, latents_std: one number per channel, to replace the variant's statistics.
        encode_dtype, decode_dtype: arithmetic of `encode*` and `decode*`; parameters stay float32.

    Raises:
        UserError: for an unknown variant, or statistics that are not latent_dim positive-std
            numbers.
    """

    latents_mean: Tensor
    latents_std: Tensor

    def __init__(
        self,
        latent_dim: int = 16,
        low_width: int = 128,
        high_width: int = 384,
        branch_layers: int = 2,
        fusion_layers: int = 4,
        ista_iter_num: int = 2,
        ista_layers: int = 2,
        variant: str = "stock",
        latents_mean: Sequence[float] | Tensor | None = None,
        latents_std: Sequence[float] | Tensor | None = None,
        encode_dtype: torch.dtype = torch.float32,
        decode_dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if variant not in PIXEL_SCALE:
            raise UserError(f"LeanVAE has no variant {variant!r}: use {' or '.join(PIXEL_SCALE)}.")
        self.latent_channels = latent_dim
        self.variant = variant
        self.pixel_scale = PIXEL_SCALE[variant]
        self.encode_dtype = encode_dtype
        self.decode_dtype = decode_dtype

        width = low_width + high_width
        self.latent_bottleneck = ISTABottleneck(width, latent_dim, ista_iter_num, ista_layers)
        self.encoder = Encoder(low_width, high_width, branch_layers, fusion_layers)
        self.decoder = Decoder(low_width, high_width, branch_layers, fusion_layers)
        # the official posterior's spread: in every checkpoint, read by neither encode nor decode
        self.std_layer = nn.Linear(width, latent_dim)

        aligned = variant == "wan2.1"
        if latents_mean is None:
            latents_mean = WAN21_LATENTS_MEAN if aligned else (0.0,) * latent_dim
        if latents_std is None:
            latents_std = WAN21_LATENTS_STD if aligned else (1.0,) * latent_dim
        self.set_statistics(latents_mean, latents_std)

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, arithmetic aside, as plain values."""
        sizes = self.infer_config(self.state_dict())
        return sizes | {
            "variant": self.variant,
            "latents_mean": self.latents_mean.flatten().tolist(),
            "latents_std": self.latents_std.flatten().tolist(),
        }

    def set_statistics(self, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> None:
        """Set latents_mean and latents_std (one positive number per channel).

        Raises:
            UserError: if their lengths are not latent_channels, or a standard deviation is <= 0.
        """
        device = self.latent_bottleneck.phi.device
        # no checkpoint holds them, so they are real even when the parameters are on meta
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
                    f"latents_std is {values.tolist()}: give positive numbers, one per channel."
                )
            self.register_buffer(name, values.view(1, -1, 1, 1, 1), persistent=False)

    def forward(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 1 + 4k, H, W) -> its reconstruction and latents, in the ambient autocast.

        For training; `encode` and `decode` choose their own arithmetic.

        Raises:
            UserError: if the video's shape does not fit the strides.
        """
        self.check_video(video, begins=True)
        latents, _ = self._encode(video, None)
        return self._decode(latents, None)[0], latents

    def encode_block(self, video: Tensor, state: VAEState = None) -> tuple[Tensor, VAEState]:
        """See `VideoVAE.encode_block`; the latents are float32."""
        self.check_video(video, begins=state is None)
        with _arithmetic(video, self.encode_dtype), tf32(self.tf32, video.device):
            latents, state = self._encode(video, state)
        return latents, _compact(state)

    def decode_block(self, latents: Tensor, state: VAEState = None) -> tuple[Tensor, VAEState]:
        """See `VideoVAE.decode_block`; the video is float32."""
        self.check_latents(latents)
        with _arithmetic(latents, self.decode_dtype), tf32(self.tf32, latents.device):
            video, state = self._decode(latents, state)
        return video, _compact(state)

    def _encode(self, video: Tensor, state: StagePast | None) -> tuple[Tensor, StagePast]:
        # sums of pixels stay in float32 whatever the layers run in
        pixels = video.float() * self.pixel_scale
        features, state = self.encoder(pixels, state)
        codes = self.latent_bottleneck.compress(features).float().permute(0, 4, 1, 2, 3)
        return ((codes - self.latents_mean) / self.latents_std).contiguous(), state

    def _decode(
        self, latents: Tensor, state: tuple[ISTAPast, StagePast] | None
    ) -> tuple[Tensor, tuple[ISTAPast, StagePast]]:
        codes = (latents.float() * self.latents_std + self.latents_mean).permute(0, 2, 3, 4, 1)
        bottleneck_past, decoder_past = (None, None) if state is None else state
        features, bottleneck_past = self.latent_bottleneck.expand(codes, bottleneck_past)
        pixels, decoder_past = self.decoder(features, decoder_past)
        return pixels / self.pixel_scale, (bottleneck_past, decoder_past)

    @staticmethod
    def infer_config(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
        """The constructor's sizes, read from the names and shapes of an official checkpoint.

        The variant and the statistics are not in the file.

        Raises:
            UserError: if a tensor that tells a size is missing.
        """

        def size(key: str, dim: int) -> int:
            if key not in state_dict:
                raise UserError(
                    f"the checkpoint has no tensor {key!r}: give LeanVAE's own state_dict, "
                    "without prefixes."
                )
            return state_dict[key].shape[dim]

        def count(prefix: str) -> int:
            tails = (key.removeprefix(prefix) for key in state_dict if key.startswith(prefix))
            return len({tail.split(".")[0] for tail in tails})

        return {
            "latent_dim": size("latent_bottleneck.phi", 0),
            "low_width": size("encoder.image_low_proj.1.weight", 0),
            "high_width": size("encoder.image_high_proj.1.weight", 0),
            "branch_layers": count("encoder.low_layer.dconv_layer."),
            "fusion_layers": count("encoder.fusion_layer.dconv_layer."),
            "ista_iter_num": count("latent_bottleneck.weights."),
            "ista_layers": count("latent_bottleneck.forward_l.0.dconv_layer."),
        }


class Encoder(nn.Module):
    """Pixels within the variant's range -> features (B, t, h, w, low_width + high_width)."""

    def __init__(self, low_width: int, high_width: int, layers: int, fusion_layers: int) -> None:
        super().__init__()
        self.widths = (low_width, high_width)
        self.video_low_proj = Projection("1", haar.LOW_VIDEO, low_width)
        self.video_high_proj = Projection("1", haar.HIGH_VIDEO, high_width)
        self.image_low_proj = Projection("1", haar.LOW_IMAGE, low_width)
        self.image_high_proj = Projection("1", haar.HIGH_IMAGE, high_width)
        self.low_layer = NAF(low_width, layers, residual=True)
        self.high_layer = NAF(high_width, layers, residual=True)
        self.fusion_layer = NAF(low_width + high_width, fusion_layers, residual=True)

    def forward(self, video: Tensor, past: StagePast | None) -> tuple[Tensor, StagePast]:
        """The first frame of a stream (past None) has its own wavelets and projections."""
        parts = []
        if past is None:
            projections = (self.image_low_proj, self.image_high_proj)
            parts.append(_project(haar.to_patches(video[:, :, :1], 1), *projections))
            video = video[:, :, 1:]
        if video.shape[2]:
            projections = (self.video_low_proj, self.video_high_proj)
            parts.append(_project(haar.to_patches(video, haar.FRAMES), *projections))
        low, high = torch.cat(parts, dim=1).split(self.widths, dim=-1)
        low_past, high_past, fusion_past = past or (None, None, None)
        low, low_past = self.low_layer(low, low_past)
        high, high_past = self.high_layer(high, high_past)
        features, fusion_past = self.fusion_layer(torch.cat((low, high), dim=-1), fusion_past)
        return features, (low_past, high_past, fusion_past)


class Decoder(nn.Module):
    """Features (B, t, h, w, low_width + high_width) -> pixels within the variant's range."""

    def __init__(self, low_width: int, high_width: int, layers: int, fusion_layers: int) -> None:
        super().__init__()
        self.widths = (low_width, high_width)
        self.video_low_proj = Projection("0", low_width, haar.LOW_VIDEO)
        self.video_high_proj = Projection("0", high_width, haar.HIGH_VIDEO)
        self.image_low_proj = Projection("0", low_width, haar.LOW_IMAGE)
        self.image_high_proj = Projection("0", high_width, haar.HIGH_IMAGE)
        self.low_layer = NAF(low_width, layers, residual=True)
        self.high_layer = NAF(high_width, layers, residual=True)
        self.fusion_layer = NAF(low_width + high_width, fusion_layers, residual=True)

    def forward(self, features: Tensor, past: StagePast | None) -> tuple[Tensor, StagePast]:
        """The first latent frame of a stream (past None) is one video frame."""
        low_past, high_past, fusion_past = past or (None, None, None)
        features, fusion_past = self.fusion_layer(features, fusion_past)
        low, high = features.split(self.widths, dim=-1)
        low, low_past = self.low_layer(low, low_past)
        high, high_past = self.high_layer(high, high_past)
        features = torch.cat((low, high), dim=-1)
        video = []
        if past is None:
            projections = (self.image_low_proj, self.image_high_proj)
            video.append(haar.from_patches(_unproject(features[:, :1], *projections), 1))
            features = features[:, 1:]
        if features.shape[1]:
            projections = (self.video_low_proj, self.video_high_proj)
            patches = _unproject(features, *projections)
            video.append(haar.from_patches(patches, haar.FRAMES))
        return torch.cat(video, dim=2), (low_past, high_past, fusion_past)


class Projection(nn.Module):
    """A linear layer under its official position; its neighbour there was a reshape."""

    def __init__(self, position: str, inputs: int, outputs: int) -> None:
        super().__init__()
        self.position = position
        self.add_module(position, nn.Linear(inputs, outputs))

    @property
    def weight(self) -> Tensor:
        return self.get_parameter(f"{self.position}.weight")

    @property
    def bias(self) -> Tensor:
        return self.get_parameter(f"{self.position}.bias")


def _project(patches: Tensor, low: Projection, high: Projection) -> Tensor:
    """Patches of pixels -> features of the low band beside those of the high bands."""
    weight = haar.analysis_transposed(_block_diagonal(low.weight, high.weight))
    return linear(patches, weight, torch.cat((low.bias, high.bias)))


def _unproject(features: Tensor, low: Projection, high: Projection) -> Tensor:
    """Features of the low band beside those of the high bands -> patches of pixels."""
    weight = haar.synthesis(_block_diagonal(low.weight.t(), high.weight.t()))
    bias = haar.synthesis(torch.cat((low.bias, high.bias)).unsqueeze(0)).squeeze(0)
    return linear(features, weight.t(), bias)


def _block_diagonal(low: Tensor, high: Tensor) -> Tensor:
    """Rows (features, coefficients) of both kinds of band over all coefficients."""
    return torch.cat((F.pad(low, (0, high.shape[1])), F.pad(high, (low.shape[1], 0))))


def _arithmetic(like: Tensor, dtype: torch.dtype) -> torch.autocast:
    return torch.autocast(like.device.type, dtype=dtype, enabled=dtype != torch.float32)


def _compact(state: VAEState) -> VAEState:
    """The same state without the larger tensors that its frames are views of."""
    if isinstance(state, Tensor):
        return state.clone()
    return tuple(_compact(part) for part in state)
