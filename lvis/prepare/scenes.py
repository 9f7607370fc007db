"""Scene cuts: a sudden change of the picture that stands out from the changes before it."""

from collections import deque
from statistics import median

import numpy as np

MEMORY = 12  # changes before, about half a second
OUTSTANDING = 3.0  # times their median: a camera that moves fast changes much in every frame


class CutDetector:
    """Told thumbnails in order, says of each whether a new scene begins with it.

    A change is the mean absolute difference of two thumbnails, in 0..1. It is a cut from `threshold` on, if it is
    also three times the median of the changes before it.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._changes: deque[float] = deque(maxlen=MEMORY)
        self._last: np.ndarray | None = None

    def __call__(self, thumbnail: np.ndarray) -> bool:
        """`thumbnail`: uint8 (h, w, 3)."""
        here = thumbnail.astype(np.float32) / 255
        last, self._last = self._last, here
        if last is None:
            return False
        change = float(np.abs(here - last).mean())
        usual = median(self._changes) if self._changes else 0.0
        self._changes.append(change)
        return change >= self.threshold and change >= OUTSTANDING * usual
