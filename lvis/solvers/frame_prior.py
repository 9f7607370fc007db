"""What solvers ask of a latent image prior, and the frames of videos of any size through one."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from lvis.solvers.base import pad_to
from lvis.solvers.patchwise import as_frames, as_video


class FramePrior(Protocol):
    """A latent diffusion model of images, such as SDXL.

    Attributes:
        unet: the denoiser, whose attention processors a solver may replace for a while.
        stride: frames' sides must be multiples of this.
        batch_size: images in a network at once; calls with more are cut.
    """

    unet: Any
    stride: int
    batch_size: int

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (N, 3, H, W) in [-1, 1] -> latents (N, 4, h, w)."""

    def decode(self, latents: Tensor) -> Tensor:
        """And back."""

    def noise(self, latents: Tensor, timestep: int) -> Tensor:
        """The predicted noise of latents, all at the same timestep in [0, 1000)."""

    def alpha_bar(self, timestep: int) -> float:
        """The cumulative alpha of a timestep; 1 for t < 0, the clean end of a path."""


class FramewisePrior:
    """A prior on videos (B, 3, T, H, W) of any size and their latents (B, 4, T, h, w).

    Attributes:
        passes: frames that went through the prior, its encoder and its decoder so far.
    """

    def __init__(self, prior: FramePrior) -> None:
        self.prior = prior
        self.passes = dict.fromkeys(("image_prior", "image_encoder", "image_decoder"), 0)

    def encode(self, video: Tensor) -> Tensor:
        """Latents of a video, whose sides are padded for the prior."""
        self.passes["image_encoder"] += video.shape[0] * video.shape[2]
        stride = self.prior.stride
        sides = tuple(-(-side // stride) * stride for side in video.shape[3:])
        return by_frames(self.prior.encode, pad_to(video, sides))

    def decode(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        """The video of latents, cropped to `size`, in [-1, 1]."""
        self.passes["image_decoder"] += latents.shape[0] * latents.shape[2]
        video = by_frames(self.prior.decode, latents)
        return video[..., : size[0], : size[1]].float().clamp(-1, 1)

    def noise(self, latents: Tensor, timestep: int) -> Tensor:
        """The predicted noise of latents, all at the same timestep."""
        self.passes["image_prior"] += latents.shape[0] * latents.shape[2]
        return by_frames(lambda frames: self.prior.noise(frames, timestep), latents)


def by_frames(apply: Callable[[Tensor], Tensor], video: Tensor) -> Tensor:
    """`apply`, which takes images (N, C, H, W), on the frames of (B, C, T, H, W)."""
    return as_video(apply(as_frames(video)), video.shape[0])
