"""What the papers report, with the protocol in the name."""

from lvis.metrics.psnr import PSNR, psnr_frames
from lvis.metrics.ssim import SSIM, ssim_frames

__all__ = ["PSNR", "SSIM", "psnr_frames", "ssim_frames"]
