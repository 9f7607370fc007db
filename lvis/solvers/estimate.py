"""The best estimate of x from y without a network, which a residual student corrects.

Missing pixels are infilled by normalised convolution (Knutsson and Westin, 1993); everything else
gets the regularised inverse at the known noise. No network.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from lvis.operators import Composition, Identity, Inpainting, LinearOperator, Separable
from lvis.operators.axes import Downsample

# the widths, in pixels, of the Gaussians that look for observed neighbours, nearest first
WIDTHS = (0.7, 1.5, 4.0, 12.0)
# an infilled pixel counts as known where the observed ones have at least this weight together
ENOUGH = 0.2


def starting_point(operator: LinearOperator, measurement: Tensor) -> Tensor:
    """What the proximal map starts from, (B, 3, T, H, W), not clamped.

    Args:
        operator: of the frames at hand, realised.
        measurement: without the offset of earlier frames.
    """
    if isinstance(operator, Composition):
        return starting_point(operator.inner, starting_point(operator.outer, measurement))
    if isinstance(operator, Separable) and isinstance(operator.axes[2], Downsample):
        # well conditioned, and sharper than a bilinear enlargement; a mean over time stays
        return Separable(None, *operator.axes[1:]).pinv(measurement)
    lifted = operator.lift(measurement)
    missing = operator.missing(lifted.shape)
    return lifted if missing is None else infill(lifted, missing.to(lifted))


def keeps_pixels(operator: LinearOperator) -> bool:
    """Whether each pixel is measured as it is, or not at all: denoising and masks."""
    return isinstance(operator, Identity | Inpainting)


def infill(video: Tensor, missing: Tensor) -> Tensor:
    """Missing pixels from a Gaussian average of the observed ones around them in their frame.

    The narrowest of a few Gaussians that finds enough observed pixels decides, so that scattered
    holes stay sharp and large ones are filled smoothly; where none does, the frame's mean stands.

    Args:
        video: (B, C, T, H, W).
        missing: (B or 1, 1, T or 1, H, W), 1 where a pixel is missing.
    """
    frames = video.transpose(1, 2)
    observed = 1 - missing.transpose(1, 2)
    result = video.new_empty(video.shape)
    filled = result.transpose(1, 2)
    if video.device.type != "cpu":
        filled.copy_(_infilled(frames, observed, _weights(observed)))
        return result
    # a frame at a time stays in the caches
    for sample in range(len(frames)):
        for at in range(frames.shape[1]):
            here = (min(sample, len(observed) - 1), min(at, observed.shape[1] - 1))
            if at == 0 or observed.shape[1] > 1:
                seen = observed[here]
                weights = _weights(seen)
            filled[sample, at] = _infilled(frames[sample, at], seen, weights)
    return result


def _weights(observed: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For each width: the weight of the observed pixels around each pixel, and the share of 1 it earns."""
    known = [_blur(observed, sigma) for sigma in WIDTHS]
    return [(weight.clamp_min(1e-6), (weight / ENOUGH).clamp_(0, 1)) for weight in known]


def _infilled(frames: Tensor, observed: Tensor, weights: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Of frames (..., C, H, W) with the observed places (..., 1, H, W)."""
    values = frames * observed
    count = observed.sum((-2, -1), keepdim=True).clamp_min(1)
    filled = (values.sum((-2, -1), keepdim=True) / count).expand_as(values)
    for sigma, (weight, share) in reversed(list(zip(WIDTHS, weights, strict=True))):
        filled = torch.lerp(filled, _blur(values, sigma).div_(weight), share)
    return torch.where(observed.bool(), frames, filled)


def _blur(images: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian blur of (..., H, W), zero outside; shrunk first where it is wide."""
    factor = 1 if sigma < 3 else 4 if sigma < 8 else 8
    height, width = images.shape[-2:]
    flat = images.reshape(-1, 1, height, width)
    if factor > 1 and min(height, width) >= factor:
        small = F.avg_pool2d(flat, factor, ceil_mode=True, count_include_pad=False)
        small = _blur_here(small, sigma / factor)
        wide = F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
        return wide.view(images.shape)
    return _blur_here(flat, sigma).view(images.shape)


def _blur_here(images: Tensor, sigma: float) -> Tensor:
    """By shifted sums: convolutions of a single channel are many times slower."""
    taps = _kernel(sigma)
    for dim in (-2, -1):
        total, length = images * taps[0], images.shape[dim]
        for shift, weight in enumerate(taps[1:length], 1):
            rest = length - shift
            for to, source in ((shift, 0), (0, shift)):
                part = images.narrow(dim, source, rest)
                total.narrow(dim, to, rest).add_(part, alpha=weight)
        images = total
    return images


@lru_cache(maxsize=32)
def _kernel(sigma: float) -> tuple[float, ...]:
    """The middle of the kernel and one side of it."""
    radius = max(1, round(3 * sigma))
    taps = torch.exp(
        -(torch.arange(-radius, radius + 1, dtype=torch.float64) ** 2) / (2 * sigma**2)
    )
    return tuple((taps / taps.sum())[radius:].tolist())
