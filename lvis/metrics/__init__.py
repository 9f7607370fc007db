"""What the papers report, with the protocol in the name."""

from lvis.metrics.errors import Unmeasured
from lvis.metrics.frechet import Moments, frechet_distance
from lvis.metrics.grid import grid_contrast, grid_energy
from lvis.metrics.psnr import PSNR, psnr_frames
from lvis.metrics.registry import METRICS, Metric, metric
from lvis.metrics.residual import residual_rms
from lvis.metrics.sharpness import gradient_distance, sharpness_high_band
from lvis.metrics.speed import Clock
from lvis.metrics.ssim import SSIM, ssim_frames
from lvis.metrics.suite import Scores, Suite
from lvis.metrics.temporal import (
    flicker_high_band,
    flicker_spectrum,
    flicker_static,
    frame_difference_error,
    xt_slice,
)

__all__ = [
    "METRICS",
    "PSNR",
    "SSIM",
    "Clock",
    "Metric",
    "Moments",
    "Scores",
    "Suite",
    "Unmeasured",
    "flicker_high_band",
    "flicker_spectrum",
    "flicker_static",
    "frame_difference_error",
    "frechet_distance",
    "gradient_distance",
    "grid_contrast",
    "grid_energy",
    "metric",
    "psnr_frames",
    "residual_rms",
    "sharpness_high_band",
    "ssim_frames",
    "xt_slice",
]
