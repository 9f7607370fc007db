"""PSNR, frame by frame."""

import torch
from torch import Tensor

from lvis.metrics.frames import unit_frames

PSNR = "psnr_rgb_frame_mean"  # RGB in [0, 1] clipped, one PSNR per frame, then the mean over frames
LIMIT = 100.0  # dB given to a frame that is the same to within 1e-10 in mean squared error


@torch.no_grad()
def psnr_frames(video: Tensor, reference: Tensor) -> Tensor:
    """PSNR in dB of every frame by the protocol `PSNR`; equal to torchmetrics' (tests/metrics).

    Args:
        video, reference: (B, 3, T, H, W) in [-1, 1]; clipped.

    Returns:
        (B, T), at most 100 dB.
    """
    error = (unit_frames(video) - unit_frames(reference)).square().mean(dim=(1, 2, 3))
    return (-10 * error.log10()).clamp(max=LIMIT).view(video.shape[0], -1)
