"""A frame read between its pixels, and what a warp gives."""

from dataclasses import dataclass

import numpy as np

HOLE = 128  # mid-grey, the nearest to 0 in [-1, 1], which y = mask * x has where nothing is known


@dataclass(frozen=True)
class View:
    """A warped frame, uint8 (H, W, 3), `HOLE` where unknown, and `observed`, bool (H, W)."""

    frame: np.ndarray
    observed: np.ndarray

    def within(self, mask: np.ndarray) -> "View":
        """The same view of which only the places in `mask`, bool (H, W), are kept."""
        return view_of(self.frame, self.observed & mask)


def view_of(frame: np.ndarray, observed: np.ndarray) -> View:
    return View(np.where(observed[..., None], frame, np.uint8(HOLE)), observed)


def sample(
    frame: np.ndarray, positions: np.ndarray, belongs: np.ndarray | None = None
) -> np.ndarray:
    """The frame's colours at `positions` by bilinear interpolation, uint8 (N, 3); outside, those of the border.

    Args:
        frame: uint8 (H, W, 3).
        positions: float (N, 2), x before y, in pixels.
        belongs: bool (N, 4), which of the four pixels around each position may be mixed: upper left and right, lower
            left and right. One at least for each position.
    """
    height, width = frame.shape[:2]
    corner = np.floor(positions).astype(np.int64)
    right, down = (positions - corner).T
    weights = np.stack(
        [(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down], axis=-1
    )
    if belongs is not None:
        weights = weights * belongs
        weights /= weights.sum(axis=-1, keepdims=True)
    colours = np.zeros((len(positions), 3))
    for number, (row, column) in enumerate(around(corner, height, width)):
        colours += weights[:, number, None] * frame[row, column]
    return np.clip(np.rint(colours), 0, 255).astype(np.uint8)


def around(corner: np.ndarray, height: int, width: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows, columns) of the four pixels whose upper left one is `corner` (N, 2), kept inside the frame."""
    rows = [np.clip(corner[:, 1] + step, 0, height - 1) for step in (0, 1)]
    columns = [np.clip(corner[:, 0] + step, 0, width - 1) for step in (0, 1)]
    return [(row, column) for row in rows for column in columns]
