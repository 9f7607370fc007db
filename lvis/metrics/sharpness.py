"""How sharp a video is beside the clean one, without a network: spectrum and gradients."""

import torch
from torch import Tensor

from lvis.metrics.errors import Unmeasured
from lvis.metrics.frames import unit_frames

HIGH_BAND = 0.25  # cycles per pixel, half of Nyquist
MOST_GRADIENTS = 2**20  # of each direction; more change the distance in its third digit
_LUMA = (0.2126, 0.7152, 0.0722)  # BT.709
_FLOOR = 1e-12


@torch.no_grad()
def sharpness_high_band(video: Tensor, reference: Tensor) -> float:
    """Spatial power above a quarter of a cycle per pixel over the reference's, in dB.

    Of BT.709 luma in [0, 1], each frame under a Hann window, summed over frames. Negative: blurred;
    0: as the clean clip; positive: more detail, ringing or noise than there was.

    Weak spot: it counts power and does not ask whether it is in the right place, so noise makes up
    for lost detail; read it beside PSNR.

    Args:
        video, reference: (B, 3, T, H, W) in [-1, 1], clipped; sides of at least 8.

    Raises:
        Unmeasured: smaller frames, or a reference without fine detail.
    """
    if min(video.shape[-2:]) < 8:
        raise Unmeasured("frames of fewer than 8 pixels a side")
    mine, clean = _high_power(video), _high_power(reference)
    if clean < _FLOOR:
        raise Unmeasured("the clean clip has no fine detail")
    return float(10 * torch.tensor(max(mine, _FLOOR) / clean).log10())


@torch.no_grad()
def gradient_distance(video: Tensor, reference: Tensor) -> float:
    """The Wasserstein-1 distance of the distributions of pixel differences, of luma in [0, 1].

    The mean over both directions of |sorted differences of the video - sorted differences of the
    clean clip|. Natural pictures have many small and a few large differences: blur takes the
    large ones, noise fills the small ones, and both move it away from 0.

    Weak spot: it compares distributions and not places, so a wrong texture of the right strength
    costs nothing.

    Args:
        video, reference: (B, 3, T, H, W) in [-1, 1] of one shape, clipped.

    Raises:
        Unmeasured: frames of a single pixel's height or width.
    """
    if min(video.shape[-2:]) < 2:
        raise Unmeasured("frames of one pixel's height or width have no gradients")
    a, b = _luma(video), _luma(reference)
    distances = [
        (_sorted_differences(a, axis) - _sorted_differences(b, axis)).abs().mean()
        for axis in (-1, -2)
    ]
    return float(torch.stack(distances).mean())


def _luma(video: Tensor) -> Tensor:
    weights = torch.tensor(_LUMA, device=video.device)
    return (unit_frames(video) * weights[:, None, None]).sum(dim=1)


def _sorted_differences(luma: Tensor, axis: int) -> Tensor:
    values = luma.diff(dim=axis).flatten()
    # an odd step, so that it does not walk down columns
    step = -(-len(values) // MOST_GRADIENTS) | 1
    return values[::step].sort().values


def _high_power(video: Tensor) -> float:
    height, width = video.shape[-2:]
    window = (
        torch.hann_window(height, periodic=False)[:, None]
        * torch.hann_window(width, periodic=False)[None]
    ).to(video.device)
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    high = ((rows.square() + columns.square()).sqrt() > HIGH_BAND).to(video.device)
    total = 0.0
    # a frame at a time: the spectrum of a clip would take twice its memory
    for frame in _luma(video):
        spectrum = torch.fft.rfft2((frame - frame.mean()) * window)
        total += float(spectrum.abs().square()[high].double().sum())
    return total / (video.shape[0] * video.shape[2] * height * width)
