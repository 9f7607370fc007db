"""A tiny autoencoder for Wan's latents, TAEHV's architecture (`taew2_1.pth`), with explicit streaming state.

Convolutions are per frame; what a layer knows of time is the frame before, beside the present one, in its memory
blocks. Parameters have TAEHV's names. It takes and gives normalised latents: no statistics of its own.

Every latent makes four frames; as in Wan's VAE, the first latent's last frame is frame 0 and its others are not used.
Of its encoder, published weights read frames 4j to 4j + 3 for latent j. Wan's latent ends at 4j, and a stream would
have to wait for the others. Ours reads 4j - 3 to 4j, frame 0 four times for the first: it streams, and what published
weights lose by that is not known. Hence `encoder`: Wan's own beside the tiny decoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvis.errors import UserError
from lvis.kernels.tf32 import tf32
from lvis.vae.base import VAEState, VideoVAE

BLOCKS = 3  # memory blocks of a stage
POOLED = (2, 2, 1)  # frames that each of the encoder's stages makes one
GROWN = (1, 2, 2)  # frames that each of the decoder's stages makes of one
UNUSED = 3  # of the four frames of a stream's first latent


class Memory:
    """The last frames that the memory blocks have read: reads those of the last block, collects the new."""

    def __init__(self, state: tuple[Tensor, ...] | None, batch: int) -> None:
        self._old = None if state is None else iter(state)
        self._batch = batch
        self._new: list[Tensor] = []

    def before(self, frames: Tensor) -> Tensor:
        """For each of (B T, C, H, W), the frame before it; zeros before the stream."""
        video = frames.unflatten(0, (self._batch, -1))
        first = torch.zeros_like(video[:, :1]) if self._old is None else next(self._old)
        # a copy: a view would keep the whole activation alive between blocks
        self._new.append(video[:, -1:].clone())
        return torch.cat((first, video[:, :-1]), dim=1).flatten(0, 1)

    @property
    def state(self) -> tuple[Tensor, ...]:
        return tuple(self._new)


class MemoryBlock(nn.Module):
    """Three convolutions of a frame and the one before it, and the frame itself: relu(x + f(x, before))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.ModuleDict(
            {"0": _conv(2 * width, width), "2": _conv(width, width), "4": _conv(width, width)}
        )

    def forward(self, frames: Tensor, memory: Memory) -> Tensor:
        x = torch.cat((frames, memory.before(frames)), dim=1)
        x = F.relu(_apply(self.conv["0"], x), inplace=True)
        x = F.relu(_apply(self.conv["2"], x), inplace=True)
        return F.relu(_apply(self.conv["4"], x) + frames, inplace=True)


class Pool(nn.Module):
    """`count` frames as one, by their channels."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.conv = nn.Conv2d(count * width, width, 1, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        return _apply(self.conv, frames.unflatten(0, (-1, self.count)).flatten(1, 2))


class Grow(nn.Module):
    """One frame as `count`, from its channels."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.conv = nn.Conv2d(width, count * width, 1, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        return _apply(self.conv, frames).unflatten(1, (self.count, -1)).flatten(0, 1)


class TAE(VideoVAE):
    """TAEHV's tiny autoencoder; shapes as in `VideoVAE`.

    Args:
        latent_channels: of the latents, 16.
        encoder_width: channels of its encoder, 64.
        decoder_widths: channels of its decoder's three stages and of what they end in.
        encoder: another VAE of the same latents, which then encodes; None is its own encoder.
        encode_dtype, decode_dtype: what its layers compute in; inputs and parameters are cast. The
            dtype of another `encoder` is its own. Results are float32.

    Raises:
        UserError: `encoder` has another shape of latents.
    """

    def __init__(
        self,
        *,
        latent_channels: int = 16,
        encoder_width: int = 64,
        decoder_widths: Sequence[int] = (256, 128, 64, 64),
        encoder: VideoVAE | None = None,
        encode_dtype: torch.dtype = torch.float32,
        decode_dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.latent_channels = latent_channels
        self.encode_dtype, self.decode_dtype = encode_dtype, decode_dtype
        self.encoder = _encoder(latent_channels, encoder_width)
        self.decoder = _decoder(latent_channels, decoder_widths)
        self.other: VideoVAE | None = None
        if encoder is not None:
            self.encode_with(encoder)

    def encode_with(self, encoder: VideoVAE) -> None:
        """Let another VAE of the same latents encode.

        Raises:
            UserError: see the class.
        """
        strides = (encoder.latent_channels, encoder.temporal_stride, encoder.spatial_stride)
        if strides != (self.latent_channels, self.temporal_stride, self.spatial_stride):
            raise UserError(
                f"the tiny decoder is for {self.latent_channels} latent channels and cells of {self.spatial_stride} "
                f"pixels, the encoder beside it has {strides[0]} and {strides[2]}: give the VAE it was made for"
            )
        self.other = encoder

    def own_state(self) -> dict[str, Tensor]:
        """The tensors under TAEHV's names, without those of another encoder."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith("other.")}

    @staticmethod
    def infer_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
        """The sizes of a state dict with TAEHV's names.

        Raises:
            UserError: a tensor that tells a size is missing.
        """
        told = [f"encoder.{number}.weight" for number in (0, 17)]
        told += [f"decoder.{number}.weight" for number in (1, 8, 14, 20)]
        missing = [key for key in told if key not in state]
        if missing:
            raise UserError(f"the tiny autoencoder has no {', '.join(missing)}; give another file")
        width, latent_channels, *widths = (state[key].shape[0] for key in told)
        return {
            "latent_channels": latent_channels,
            "encoder_width": width,
            "decoder_widths": tuple(widths),
        }

    def encode_block(self, video: Tensor, state: VAEState = None) -> tuple[Tensor, VAEState]:
        """See `VideoVAE.encode_block`; the latents are float32."""
        self.check_video(video, begins=state is None)
        with torch.autocast(video.device.type, enabled=False), tf32(self.tf32, video.device):
            if self.other is not None:
                return self.other.encode_block(video, state)
            if state is None:
                video = torch.cat((video[:, :, :1].expand(-1, -1, UNUSED, -1, -1), video), dim=2)
            memory = Memory(state, video.shape[0])
            x = F.relu(_apply(self.encoder["0"], _frames((video + 1) / 2, self.encode_dtype)))
            for stage in range(len(POOLED)):
                first = 2 + stage * (2 + BLOCKS)
                x = _apply(self.encoder[str(first + 1)], self.encoder[str(first)](x))
                for number in range(first + 2, first + 2 + BLOCKS):
                    x = self.encoder[str(number)](x, memory)
            x = _apply(self.encoder[str(2 + len(POOLED) * (2 + BLOCKS))], x)
        return _video(x, video.shape[0]), memory.state

    def decode_block(self, latents: Tensor, state: VAEState = None) -> tuple[Tensor, VAEState]:
        """See `VideoVAE.decode_block`; the video is float32."""
        self.check_latents(latents)
        with torch.autocast(latents.device.type, enabled=False), tf32(self.tf32, latents.device):
            memory = Memory(state, latents.shape[0])
            x = 3 * torch.tanh(_frames(latents, self.decode_dtype) / 3)
            x = F.relu(_apply(self.decoder["1"], x), inplace=True)
            for stage in range(len(GROWN)):
                first = 3 + stage * (3 + BLOCKS)
                for number in range(first, first + BLOCKS):
                    x = self.decoder[str(number)](x, memory)
                # per pixel, so it may go before the doubling of the sides, at a quarter of the cost
                x = self.decoder[str(first + BLOCKS + 1)](x)
                x = F.interpolate(x, scale_factor=2, mode="nearest-exact")
                x = _apply(self.decoder[str(first + BLOCKS + 2)], x)
            x = _apply(self.decoder["22"], F.relu(x, inplace=True))
        video = 2 * _video(x, latents.shape[0]) - 1
        return (video[:, :, UNUSED:] if state is None else video), memory.state


def _encoder(latent_channels: int, width: int) -> nn.ModuleDict:
    layers: dict[str, nn.Module] = {"0": _conv(3, width)}
    for stage, count in enumerate(POOLED):
        first = 2 + stage * (2 + BLOCKS)
        layers[str(first)] = Pool(width, count)
        layers[str(first + 1)] = _conv(width, width, stride=2, bias=False)
        for number in range(first + 2, first + 2 + BLOCKS):
            layers[str(number)] = MemoryBlock(width)
    layers[str(2 + len(POOLED) * (2 + BLOCKS))] = _conv(width, latent_channels)
    return nn.ModuleDict(layers)


def _decoder(latent_channels: int, widths: Sequence[int]) -> nn.ModuleDict:
    layers: dict[str, nn.Module] = {"1": _conv(latent_channels, widths[0])}
    for stage, count in enumerate(GROWN):
        first = 3 + stage * (3 + BLOCKS)
        for number in range(first, first + BLOCKS):
            layers[str(number)] = MemoryBlock(widths[stage])
        layers[str(first + BLOCKS + 1)] = Grow(widths[stage], count)
        layers[str(first + BLOCKS + 2)] = _conv(widths[stage], widths[stage + 1], bias=False)
    layers["22"] = _conv(widths[-1], 3)
    return nn.ModuleDict(layers)


def _conv(inputs: int, outputs: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=bias)


def _apply(conv: Any, x: Tensor) -> Tensor:
    """A convolution in x's dtype."""
    bias = None if conv.bias is None else conv.bias.to(x.dtype)
    return F.conv2d(x, conv.weight.to(x.dtype), bias, conv.stride, conv.padding)


def _frames(video: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, C, T, H, W) -> (B T, C, H, W), the channels last in memory."""
    frames = video.transpose(1, 2).flatten(0, 1)
    return frames.to(dtype, memory_format=torch.channels_last)


def _video(frames: Tensor, batch: int) -> Tensor:
    """(B T, C, H, W) -> (B, C, T, H, W) in float32."""
    video = frames.unflatten(0, (batch, -1)).transpose(1, 2)
    return video.to(torch.float32, memory_format=torch.contiguous_format)
