"""What changes from frame to frame, without a network."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lvis.metrics.errors import Unmeasured
from lvis.metrics.frames import unit_frames

# flicker is what changes faster than natural motion of the same clip: above half of Nyquist
HIGH_BAND = 0.25  # cycles per frame
# static: the clean clip changes by less, in the mean over a neighbourhood (sensors are never still)
STATIC, NEIGHBOURHOOD = 2 / 255, 7
LEAST_STATIC = 0.01  # share of places; fewer are no sample of anything
_FLOOR = 1e-12


@torch.no_grad()
def frame_difference_error(video: Tensor, reference: Tensor) -> float:
    """Mean absolute error of the differences of consecutive frames, of pixels in [0, 1].

    A constant offset costs nothing, an offset that changes sign each frame costs twice its size.

    Args:
        video, reference: (B, 3, T, H, W) in [-1, 1], T at least 2; clipped.

    Raises:
        Unmeasured: a single frame.
    """
    _need(video, 2)
    error = _unit(video) - _unit(reference)
    return error.diff(dim=2).abs().mean().item()


@torch.no_grad()
def flicker_spectrum(video: Tensor) -> tuple[Tensor, Tensor]:
    """The power of every temporal frequency, a mean over pixels, channels and samples.

    Of pixels in [0, 1] less their mean over time, with a Hann window over T frames, normalised
    so that white noise of variance s has power s at every frequency.

    Args:
        video: (B, 3, T, H, W) in [-1, 1], T at least 4; clipped.

    Returns:
        Frequencies in cycles per frame, 0 to 0.5, (T // 2 + 1,), and powers of the same shape.

    Raises:
        Unmeasured: fewer than 4 frames.
    """
    _need(video, 4)
    pixels = _unit(video).movedim(2, -1)
    frames = pixels.shape[-1]
    window = torch.hann_window(frames + 2, periodic=False, device=pixels.device)[1:-1]
    centred = (pixels - pixels.mean(dim=-1, keepdim=True)) * (window / window.square().sum().sqrt())
    # a row of pixels at a time: the spectrum of a whole clip would take its memory twice more
    power = torch.zeros(frames // 2 + 1, dtype=torch.float64, device=pixels.device)
    for row in centred.unbind(dim=2):
        power += torch.fft.rfft(row).abs().square().double().flatten(0, -2).sum(dim=0)
    return torch.fft.rfftfreq(frames), (power / pixels[..., 0].numel()).cpu()


def flicker_high_band(video: Tensor, reference: Tensor) -> float:
    """Power above a quarter of the frame rate over the reference's, in dB.

    Positive: flicker that the clean clip does not have; negative: motion that was smoothed away.

    Raises:
        Unmeasured: fewer than 4 frames, or a reference that stands still.
    """
    frequencies, power = flicker_spectrum(video)
    high = frequencies > HIGH_BAND
    mine, clean = power[high].sum(), flicker_spectrum(reference)[1][high].sum()
    if clean < _FLOOR:
        raise Unmeasured("the clean clip stands still")
    return (10 * (mine.clamp(min=_FLOOR) / clean).log10()).item()


@torch.no_grad()
def flicker_static(video: Tensor, reference: Tensor) -> float:
    """Mean absolute change from frame to frame where the clean clip stands still, of [0, 1].

    Still: the mean over channels and 7 x 7 pixels of the clean clip's own change is below 2/255.
    A flat or frozen answer has 0, so it says nothing of quality alone; the clean clip has the
    noise of its sensor.

    Args:
        video, reference: (B, 3, T, H, W) in [-1, 1], T at least 2; clipped.

    Raises:
        Unmeasured: a single frame, or less than 1 % of the places standing still.
    """
    _need(video, 2)
    change = _unit(reference).diff(dim=2).abs().mean(dim=1).flatten(0, 1)[:, None]
    local = F.avg_pool2d(
        change, NEIGHBOURHOOD, stride=1, padding=NEIGHBOURHOOD // 2, count_include_pad=False
    )
    still = local < STATIC
    if still.float().mean() < LEAST_STATIC:
        raise Unmeasured("the clean clip moves everywhere")
    mine = _unit(video).diff(dim=2).abs().mean(dim=1).flatten(0, 1)[:, None]
    return mine[still].double().mean().item()


def xt_slice(video: Tensor, row: int | None = None) -> Tensor:
    """One row of pixels through time, as a picture: (3, T, W) in [-1, 1] of the first sample.

    Motion draws lines, flicker draws bars across, a still picture draws columns.

    Args:
        video: (B, 3, T, H, W).
        row: which; by default the middle one.
    """
    return video[0, :, :, video.shape[3] // 2 if row is None else row]


def _unit(video: Tensor) -> Tensor:
    batch = video.shape[0]
    return unit_frames(video).unflatten(0, (batch, -1)).transpose(1, 2)


def _need(video: Tensor, frames: int) -> None:
    if video.shape[2] < frames:
        raise Unmeasured(f"a clip of {video.shape[2]} frames; it needs {frames}")
