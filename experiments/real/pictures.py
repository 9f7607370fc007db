"""The middle frame of every answer, side by side with a magnified detail under each."""

import re
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from lvis.data.comparison import GAP, PAPER, SideBySide
from lvis.evaluate.pictures import still
from lvis.files import replacing
from real.measurements import Cell

DETAIL = 64  # pixels a side that are magnified
WIDEST = 480  # of a frame in a strip
ORDER = ("measurement", "pinv", "admm_tv", "infill")


def keep(output: Path, cell: Cell, caption: str, video: Tensor) -> None:
    """The middle frame of (1, 3, T, H, W), for strips."""
    folder = output / "frames" / cell.name
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / f"{_safe(caption)}.png") as partial:
        Image.fromarray(still(video)).save(partial, format="PNG")


def strip(output: Path, cell: Cell) -> None:
    """A JPEG of the frames kept for this measurement."""
    found = {path.stem: path for path in (output / "frames" / cell.name).glob("*.png")}
    names = sorted(
        found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)
    )
    frames = [np.asarray(Image.open(found[name]).convert("RGB")) for name in names]
    corner = _busiest(frames[-1])
    columns = [_column(frame, corner) for frame in frames]
    board = SideBySide([name.removeprefix("zz ") for name in names], *columns[0].shape[:2])
    folder = output / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / f"{cell.name}.jpg") as partial:
        Image.fromarray(board(columns)).save(partial, format="JPEG", quality=92)


def _column(frame: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    top, left = corner
    height, width = frame.shape[:2]
    shown = min(width, WIDEST)
    whole = Image.fromarray(frame).resize(
        (shown, round(height * shown / width)), Image.Resampling.LANCZOS
    )
    detail = Image.fromarray(frame[top : top + DETAIL, left : left + DETAIL])
    detail = detail.resize((shown, shown), Image.Resampling.NEAREST)
    gap = np.full((GAP, shown, 3), PAPER, dtype=np.uint8)
    return np.concatenate([np.asarray(whole), gap, np.asarray(detail)])


def _busiest(clean: np.ndarray) -> tuple[int, int]:
    """The corner of the square with the strongest differences."""
    grey = clean.astype(np.float32).mean(axis=2)
    busy = np.abs(np.diff(grey, axis=1))[:-1] + np.abs(np.diff(grey, axis=0))[:, :-1]
    places = [
        (busy[top : top + DETAIL, left : left + DETAIL].mean(), top, left)
        for top in range(0, grey.shape[0] - DETAIL + 1, DETAIL // 2)
        for left in range(0, grey.shape[1] - DETAIL + 1, DETAIL // 2)
    ]
    return max(places)[1:]


def _safe(caption: str) -> str:
    return re.sub(r"[^\w .=+-]", "_", caption)[-120:]
