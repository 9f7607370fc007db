"""SSIM, frame by frame."""

from functools import lru_cache

import torch
from torch import Tensor

from lvis.metrics.frames import unit_frames

SSIM = "ssim_rgb_gauss11_frame_mean"  # window 11x11, sigma 1.5; RGB in [0, 1]; mean over frames
WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


@torch.no_grad()
def ssim_frames(video: Tensor, reference: Tensor) -> Tensor:
    """SSIM of every frame by the protocol `SSIM` (Wang et al. 2004, equation 13, where the window
    fits inside).

    As the papers' codes and scikit-image have it (tests/metrics): torchmetrics also averages over
    windows that hang over the border, into mirrored pixels. Two matrix products take a fifth of the
    time of its convolutions.

    Args:
        video, reference: (B, 3, T, H, W) in [-1, 1], H and W at least 11; clipped.

    Returns:
        (B, T), at most 1.
    """
    a, b = unit_frames(video), unit_frames(reference)
    rows, columns = (_window_matrix(side).to(a.device) for side in a.shape[-2:])
    # one frame's maps at a time: five products of a whole block would take five times its memory
    scores = [_ssim(*frame, rows, columns) for frame in zip(a, b, strict=True)]
    return torch.stack(scores).view(video.shape[0], -1)


def _ssim(a: Tensor, b: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    moments = rows @ torch.stack((a, b, a * a, b * b, a * b)) @ columns.mT
    mean_a, mean_b, square_a, square_b, product = moments
    variances = square_a - mean_a**2 + square_b - mean_b**2
    covariance = product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return (luminance * (2 * covariance + C2) / (variances + C2)).mean()


@lru_cache(maxsize=16)
def _window_matrix(side: int) -> Tensor:
    """(side - 10, side): each row the Gaussian window at one place."""
    offsets = torch.arange(WINDOW) - WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    matrix = torch.zeros(side - WINDOW + 1, side)
    for row in range(len(matrix)):
        matrix[row, row : row + WINDOW] = window / window.sum()
    return matrix
