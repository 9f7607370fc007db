"""The width of an unknown Gaussian blur, from the spectrum of the blurred video alone. Ours."""

import math

import torch
from torch import Tensor

from lvis.solvers.shrinkage import estimated_noise

# the power spectrum of natural images falls as f^-SLOPE (2.4 fits held-out clips best)
SLOPE = 2.4
# cycles per pixel: scenes differ below, and sampling changes the spectrum above
LOWEST, HIGHEST, RINGS = 0.02, 0.45, 30
# a ring counts where its power is this many times that of the noise
ABOVE_NOISE = 4.0
FEWEST = 4


def estimated_blur(video: Tensor, floor: float) -> float | None:
    """sigma in pixels of the Gaussian blur of (1, 3, T, H, W), 0 for none; None where too little shows.

    log P(f) = c - SLOPE log f - (2 pi sigma f)^2 is fitted over rings of frequency. How near it
    comes on held-out clips: docs/deviations/consistency.md. Sharp video gives about 0.5, the blur
    of its camera.

    Args:
        floor: least noise of the video, a standard deviation.
    """
    power, frequency = _spectrum(video.mean(dim=1)[0].float().cpu())
    noise = max(estimated_noise(video), floor) ** 2 / video.shape[1]
    edges = torch.linspace(LOWEST, HIGHEST, RINGS).tolist()
    at: list[float] = []
    logs: list[float] = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        ring = (frequency >= low) & (frequency < high)
        if not ring.any():
            continue
        mean = float(power[ring].mean())
        if not mean > ABOVE_NOISE * noise:
            break
        at.append(float(frequency[ring].mean()))
        logs.append(math.log(mean - noise))
    if len(at) < FEWEST:
        return None
    f = torch.tensor(at, dtype=torch.float64)
    flat = torch.tensor(logs, dtype=torch.float64) + SLOPE * f.log()
    terms = torch.stack([torch.ones_like(f), -((2 * math.pi * f) ** 2)], dim=1)
    variance = torch.linalg.lstsq(terms, flat[:, None]).solution[1]
    return float(variance.clamp_min(0).sqrt())


def _spectrum(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Mean power per pixel of (T, H, W) and the frequency of each place, (H, W)."""
    _, height, width = frames.shape
    window = torch.hann_window(height, False)[:, None] * torch.hann_window(width, False)
    frames = (frames - frames.mean(dim=(1, 2), keepdim=True)) * window
    power = torch.fft.fft2(frames).abs().square().mean(dim=0) / window.square().sum()
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)
    return power, (rows**2 + columns**2).sqrt()
