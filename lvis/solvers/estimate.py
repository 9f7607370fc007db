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
    batch, channels, frames, height, width = video.shape
    observed = (1 - missing).expand(missing.shape[0], 1, missing.shape[2], height, width)
    values = (video * observed).transpose(1, 2).reshape(-1, channels, height, width)
    weight = observed.transpose(1, 2).reshape(-1, 1, height, width)
    total = values.sum((2, 3), keepdim=True)
    count = observed.expand(batch, 1, frames, -1, -1).transpose(1, 2)
    count = count.reshape(-1, 1, height, width).sum((2, 3), keepdim=True)
    filled = (total / count.clamp_min(1)).expand_as(values)
    for sigma in reversed(WIDTHS):
        known = _blur(weight, sigma)
        average = _blur(values, sigma).view(batch, -1, channels, height, width)
        known = known.view(missing.shape[0], -1, 1, height, width)
        share = (known / ENOUGH).clamp(0, 1)
        average = average / known.clamp_min(1e-6)
        filled = filled.view_as(average)
        filled = share * average + (1 - share) * filled
    filled = filled.view(batch, frames, channels, height, width).transpose(1, 2)
    return torch.where(observed.bool(), video, filled)


def _blur(images: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian blur of (N, C, H, W), zero outside; shrunk first where it is wide."""
    factor = 1 if sigma < 3 else 4 if sigma < 8 else 8
    height, width = images.shape[-2:]
    if factor > 1 and min(height, width) >= factor:
        small = F.avg_pool2d(images, factor, ceil_mode=True, count_include_pad=False)
        small = _blur_here(small, sigma / factor)
        return F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
    return _blur_here(images, sigma)


def _blur_here(images: Tensor, sigma: float) -> Tensor:
    kernel = _kernel(sigma, images.dtype, images.device)
    channels, radius = images.shape[1], len(kernel) // 2
    rows = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    columns = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    images = F.conv2d(images, rows, padding=(radius, 0), groups=channels)
    return F.conv2d(images, columns, padding=(0, radius), groups=channels)


@lru_cache(maxsize=32)
def _kernel(sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        radius = max(1, round(3 * sigma))
        taps = torch.arange(-radius, radius + 1, dtype=torch.float32)
        kernel = torch.exp(-(taps**2) / (2 * sigma**2))
        return (kernel / kernel.sum()).to(device, dtype)
