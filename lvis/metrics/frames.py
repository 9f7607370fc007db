"""From videos to what image metrics take."""

from torch import Tensor


def unit_frames(video: Tensor) -> Tensor:
    """(B, 3, T, H, W) in [-1, 1] -> float32 (B T, 3, H, W) in [0, 1], clipped."""
    return ((video.float() + 1) / 2).clamp(0, 1).transpose(1, 2).flatten(0, 1)
