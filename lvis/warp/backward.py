"""A warp that the user brings: for every pixel of the new view, where in the clip it was."""

import numpy as np

from lvis.warp.sampling import View, sample, view_of


def backward_warp(frame: np.ndarray, positions: np.ndarray) -> View:
    """The view whose pixel (row, column) was at `positions[row, column]` in the frame.

    Args:
        frame: uint8 (H, W, 3).
        positions: float (H, W, 2), x before y, in pixels, pixel centres at whole numbers; a hole where they are not
            finite or lie outside the frame.
    """
    height, width = frame.shape[:2]
    x, y = positions[..., 0], positions[..., 1]
    # a pixel reaches half a pixel beyond its centre; not-a-number compares false
    observed = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    inside = np.clip(positions[observed].astype(np.float64), 0, [width - 1, height - 1])
    warped = np.zeros_like(frame)
    warped[observed] = sample(frame, inside)
    return view_of(warped, observed)
