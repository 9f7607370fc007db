"""The pixel prior on frames larger than it was trained on: patches, a batch at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lvis.backbone.pixel_prior import PixelPrior
from lvis.kernels.transfer import sent
from lvis.solvers.base import pad_to
from lvis.solvers.tiling import over_patches, starts


class PatchwisePrior:
    """Noise of frames (N, 3, H, W) of any size, blended from patches of the prior's size.

    Args:
        overlap: least overlap of neighbouring patches, pixels.
        recorded: patches whose activations are kept for a backward pass; where there are more, they go this many
            at a time and each batch's are made again in its turn of the backward pass. None keeps all.

    Attributes:
        passes: images that went through the network so far; patches count each.
    """

    def __init__(self, prior: PixelPrior, overlap: int, recorded: int | None = None) -> None:
        self.prior, self.overlap, self.recorded, self.passes = prior, overlap, recorded, 0

    def predict_noise(self, noisy: Tensor, timestep: int) -> Tensor:
        """The predicted noise, differentiable in `noisy`; smaller frames are mirrored to a patch."""
        height, width = noisy.shape[-2:]
        side = self.prior.size
        padded = pad_to(noisy[:, :, None], (max(height, side), max(width, side)))[:, :, 0]
        places = [len(starts(length, side, self.overlap)) for length in padded.shape[-2:]]
        patches = padded.shape[0] * places[0] * places[1]
        size = self.recorded
        if not torch.is_grad_enabled() or size is None or patches <= size:
            size = None
        noise = over_patches(lambda p: self._patch(p, timestep, size), padded, side, self.overlap)
        return noise[..., :height, :width]

    def predict_clean(self, noisy: Tensor, noise: Tensor, timestep: int) -> Tensor:
        """Tweedie's estimate, clamped to [-1, 1] as ADM's sampler does."""
        share = self.prior.alpha_bar(timestep)
        return ((noisy - (1 - share) ** 0.5 * noise) / share**0.5).clamp(-1, 1)

    def _patch(self, patch: Tensor, timestep: int, size: int | None) -> Tensor:
        self.passes += len(patch)
        if size is None:
            return self.prior.predict_noise(patch, timestep)
        parts: list[Tensor] = []
        for part in patch.split(size):
            # the network draws no random numbers
            noise = checkpoint(
                self.prior.predict_noise,
                part,
                timestep,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            parts.append(noise)
        return torch.cat(parts)


def ddim_path(steps: int, total: int) -> Iterator[tuple[int, int]]:
    """(t, next t) from the noisiest level down to -1, the clean end; evenly spaced."""
    levels = [round(total * (step + 1) / steps) - 1 for step in reversed(range(steps))]
    yield from zip(levels, [*levels[1:], -1], strict=True)


def as_frames(video: Tensor) -> Tensor:
    """(B, 3, T, H, W) -> (B T, 3, H, W)."""
    return video.transpose(1, 2).flatten(0, 1)


def as_video(frames: Tensor, batch: int) -> Tensor:
    """The reverse of `as_frames`."""
    return frames.unflatten(0, (batch, -1)).transpose(1, 2)


def draw(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal values, drawn on the CPU so that every device has the same."""
    return sent(torch.randn(shape, generator=generator), device)
