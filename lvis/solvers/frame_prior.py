"""What solvers ask of a latent image prior, and frames of any size and number through one."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from lvis.solvers.base import pad_to
from lvis.solvers.patchwise import as_frames, as_video


class FramePrior(Protocol):
    """A latent diffusion model of images, such as SDXL.

    Attributes:
        alphas: cumulative alphas of t = 0 ... 999, float64 (1000,).
    """

    alphas: Tensor

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (N, 3, H, W) in [-1, 1] -> latents (N, 4, h, w)."""

    def decode(self, latents: Tensor) -> Tensor:
        """And back."""

    def noise(self, latents: Tensor, t: int, prompt: str | None = None) -> Tensor:
        """The predicted noise of latents at level t of `alphas`."""


class FrameBatches:
    """A prior on videos of any size and length, `window` frames in the network at once.

    Args:
        stride: sides are padded to multiples of this for the prior, and cropped back.

    Attributes:
        passes: frames that went through the denoiser so far.
    """

    def __init__(self, prior: FramePrior, window: int, stride: int) -> None:
        self.prior, self.window, self.stride, self.passes = prior, window, stride, 0

    def encode(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> latents (B, 4, T, h, w)."""
        sides = tuple(-(-side // self.stride) * self.stride for side in video.shape[3:])
        return self._each(self.prior.encode, pad_to(video, sides))

    def decode(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        """Latents (B, 4, T, h, w) -> video (B, 3, T, H, W), cropped to `size`."""
        return self._each(self.prior.decode, latents)[..., : size[0], : size[1]].float()

    def noise(self, latents: Tensor, t: int, prompt: str | None) -> Tensor:
        """The predicted noise of latents (B, 4, T, h, w), all at level t."""
        self.passes += latents.shape[0] * latents.shape[2]
        return self._each(lambda part: self.prior.noise(part, t, prompt), latents)

    def alpha_bar(self, t: int) -> float:
        """Of level t; 1 for t < 0, the clean end of a path."""
        return float(self.prior.alphas[t]) if t >= 0 else 1.0

    def _each(self, apply: Callable[[Tensor], Tensor], video: Tensor) -> Tensor:
        parts = [apply(part) for part in as_frames(video).split(self.window)]
        return as_video(torch.cat(parts), video.shape[0])
