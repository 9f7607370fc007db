"""The scheduled low-pass filter of VISION-XL (step 4, Eq. 7)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Beyond four standard deviations a Gaussian's weights are under 4e-4 of its peak.
TRUNCATE = 4.0

SCHEDULES = ("paper", "released")


def width(alpha_bar: float, lambda_: float, schedule: str = "paper") -> float:
    """sigma_t in pixels: the paper's lambda sqrt(1 - alpha_bar_t), or the code's sqrt(lambda (1 - alpha_bar_t)).

    lambda 0 means no filter; at lambda = 2 the code's filter is the paper's for sqrt 2.
    """
    assert schedule in SCHEDULES, schedule
    scale = math.sqrt(lambda_) if schedule == "released" else lambda_
    return scale * math.sqrt(max(0.0, 1.0 - alpha_bar))


def low_pass(frames: Tensor, sigma: float) -> Tensor:
    """Each of `frames` (N, C, H, W) under a Gaussian of `sigma` pixels, borders replicated."""
    radius = math.ceil(TRUNCATE * sigma)
    if radius == 0:
        return frames
    offsets = torch.arange(-radius, radius + 1, device=frames.device, dtype=torch.float32)
    taps = torch.exp(-0.5 * (offsets / sigma) ** 2)
    taps = (taps / taps.sum()).to(frames.dtype)
    channels = frames.shape[1]
    padded = F.pad(frames, (radius, radius, radius, radius), mode="replicate")
    rows = F.conv2d(padded, taps.view(1, 1, -1, 1).expand(channels, -1, -1, -1), groups=channels)
    return F.conv2d(rows, taps.view(1, 1, 1, -1).expand(channels, -1, -1, -1), groups=channels)
