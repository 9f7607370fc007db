"""The contract of a video VAE: video <-> latents, whole or block by block with explicit state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from lvis.errors import UserError

# What a stream carries from block to block: nested tuples of tensors, opaque to callers.
VAEState = Any


class VideoVAE(nn.Module, ABC):
    """A causal video VAE. B batch, T video frames, H W pixels, t latent frames, h w latent sides.

    Video is (B, 3, T, H, W) in [-1, 1]; latents are (B, latent_channels, t, h, w), normalised to
    zero mean and unit variance per channel; T = 1 + temporal_stride (t - 1), h = H / spatial_stride.
    A block that begins a stream (state None) holds 1 + 4k frames, later blocks 4k frames, k latents
    each (1 + k the first). States are values: no call changes a state it was given.
    """

    latent_channels: int = 16
    # float32 arithmetic on CUDA: TF32 in products and convolutions alike, or IEEE in both
    tf32: bool = False
    temporal_stride: int = 4
    spatial_stride: int = 8

    @abstractmethod
    def encode_block(self, video: Tensor, state: VAEState = None) -> tuple[Tensor, VAEState]:
        """Latents (the posterior's mean) of the next frames of a stream, and the state after them.

        Raises:
            UserError: if the video's shape does not fit the strides.
        """

    @abstractmethod
    def decode_block(self, latents: Tensor, state: VAEState = None) -> tuple[Tensor, VAEState]:
        """Video (not clamped) of the next latents of a stream, and the state after them.

        Raises:
            UserError: if the latents' shape is not (B, latent_channels, t >= 1, h, w).
        """

    def encode(self, video: Tensor) -> Tensor:
        """Latents of a whole clip (B, 3, 1 + 4k, H, W): `encode_block(video, None)[0]`."""
        return self.encode_block(video, None)[0]

    def decode(self, latents: Tensor) -> Tensor:
        """Video of whole-clip latents (B, latent_channels, t, h, w): `decode_block(...)[0]`."""
        return self.decode_block(latents, None)[0]

    def latent_frames(self, frames: int) -> int:
        """Latent frames of a clip of `frames` video frames.

        Raises:
            UserError: if frames is not 1 + temporal_stride k.
        """
        if frames < 1 or (frames - 1) % self.temporal_stride:
            raise UserError(
                f"a clip of {frames} frames does not fit the VAE: "
                f"use 1 + {self.temporal_stride}k frames (1, 5, 9, ...)."
            )
        return 1 + (frames - 1) // self.temporal_stride

    def video_frames(self, latent_frames: int) -> int:
        """Video frames of a clip of `latent_frames` latent frames.

        Raises:
            UserError: if latent_frames is below 1.
        """
        if latent_frames < 1:
            raise UserError(f"a clip of {latent_frames} latent frames is empty: give at least 1.")
        return 1 + self.temporal_stride * (latent_frames - 1)

    def check_video(self, video: Tensor, *, begins: bool) -> None:
        """Raise UserError unless `video` is a block this VAE encodes without padding."""
        if video.ndim != 5 or video.shape[1] != 3:
            raise UserError(
                f"a video has shape (B, 3, T, H, W), not {tuple(video.shape)}: "
                "put the three colours in dimension 1."
            )
        frames, height, width = video.shape[2:]
        if begins:
            self.latent_frames(frames)
        elif frames < 1 or frames % self.temporal_stride:
            raise UserError(
                f"a later block of {frames} frames does not fit the VAE: "
                f"use a multiple of {self.temporal_stride}."
            )
        stride = self.spatial_stride
        if not height or not width or height % stride or width % stride:
            raise UserError(
                f"a video of {height} x {width} pixels does not fit the VAE: "
                f"pad or crop both sides to multiples of {stride}."
            )

    def check_latents(self, latents: Tensor) -> None:
        """Raise UserError unless `latents` is a block this VAE decodes."""
        if (
            latents.ndim != 5
            or latents.shape[1] != self.latent_channels
            or not all(latents.shape[2:])
        ):
            raise UserError(
                f"latents have shape (B, {self.latent_channels}, t, h, w), "
                f"not {tuple(latents.shape)}: check which VAE made them."
            )
