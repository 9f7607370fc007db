"""An 8-pixel grid in the picture, which decoders of patches and of strided latents leave behind."""

import math

import torch
from torch import Tensor

from lvis.metrics.errors import Unmeasured
from lvis.metrics.frames import unit_frames

PERIOD = 8
_FLOOR = 1e-12


@torch.no_grad()
def grid_energy(video: Tensor, reference: Tensor) -> float:
    """Power of the 8-pixel period over the reference's: 1 for the clean clip itself.

    The periodograms of pixel differences along rows and along columns, at 1/8, 2/8, 3/8 and 4/8
    cycles per pixel, summed over both directions, all channels and all frames.

    Weak spots: noise has power at these frequencies too and raises it, blur lowers it and can hide
    a grid; see `grid_contrast` for a measure that neither moves much.

    Args:
        video, reference: (B, 3, T, H, W) in [-1, 1], clipped; H and W at least 17.

    Raises:
        Unmeasured: smaller frames, or a reference without any such power (a flat picture).
    """
    mine, clean = _power(video)[0], _power(reference)[0]
    if clean < _FLOOR:
        raise Unmeasured("the clean clip is flat")
    return mine / clean


@torch.no_grad()
def grid_contrast(video: Tensor, reference: Tensor) -> float:
    """How far the 8-pixel period stands out of its neighbours in the spectrum, over the
    reference's: 1 for the clean clip.

    The power of `grid_energy` over that at the odd sixteenths of a cycle per pixel between them.
    Noise adds to both and blur takes from both.

    Weak spot: a pattern whose sign changes at random from block to block has no line in the
    spectrum and moves only `grid_energy`.

    Raises:
        Unmeasured: frames smaller than 17 pixels, or a picture without power between the lines.
    """
    (mine, between), (clean, clean_between) = _power(video), _power(reference)
    if min(clean, between, clean_between) < _FLOOR:
        raise Unmeasured("the picture is flat")
    return (mine / between) / (clean / clean_between)


def _power(video: Tensor) -> tuple[float, float]:
    """Power at the harmonics of 1/8, and halfway between them, of differences in both directions."""
    frames = unit_frames(video)
    on = between = 0.0
    for signal in (frames.diff(dim=-1), frames.diff(dim=-2).mT):
        length = signal.shape[-1] // (2 * PERIOD) * 2 * PERIOD
        if not length:
            raise Unmeasured(f"frames of fewer than {2 * PERIOD + 1} pixels a side")
        # every one of these frequencies is exactly a bin of this length
        steps = torch.arange(1, PERIOD + 1, device=signal.device)
        phase = torch.arange(length, device=signal.device)[:, None] * steps
        angle = (phase % (2 * PERIOD)) * (math.pi / PERIOD)
        rows = signal[..., :length]
        power = (rows @ angle.cos()).square() + (rows @ angle.sin()).square()
        mean = power.double().flatten(0, -2).mean(dim=0) / length
        on += float(mean[1::2].sum())
        between += float(mean[0::2].sum())
    return on, between
