"""The pictures that an evaluation keeps of a clip."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from lvis.data.comparison import GAP, PAPER, SideBySide
from lvis.data.frames import to_frames
from lvis.evaluate.methods import Restoration
from lvis.files import replacing
from lvis.metrics import xt_slice

SMALLEST_XT = 96  # rows of pixels; a slice of few frames is drawn with each of them repeated


def save_picture(
    path: Path, visible: Tensor, restored: dict[str, Restoration], clean: Tensor
) -> None:
    """The middle frame of the measurement, of every answer and of the clean clip, side by side.

    Beside it `<name>_xt.png`: their middle rows of pixels, through time from top to bottom.
    """
    videos = (
        {"measurement": visible}
        | {name: r.video for name, r in restored.items()}
        | {"clean": clean}
    )
    _save(path, list(videos), [still(video) for video in videos.values()])
    slices = [xt_picture(video) for video in videos.values()]
    _save(path.with_name(f"{path.stem}_xt{path.suffix}"), list(videos), slices)


def save_grid(path: Path, videos: Mapping[str, Tensor]) -> None:
    """A column for each of `videos`, caption -> (1, 3, T, H, W) in [-1, 1] of one size: its middle frame, and under it
    its middle row of pixels through time from top to bottom."""
    columns = []
    for video in videos.values():
        frame, over_time = still(video), xt_picture(video)
        between = np.full((GAP, *frame.shape[1:]), PAPER, dtype=frame.dtype)
        columns.append(np.concatenate([frame, between, over_time]))
    _save(path, list(videos), columns)


def still(video: Tensor) -> np.ndarray:
    """The middle frame (H, W, 3) of (1, 3, T, H, W)."""
    middle = video.shape[2] // 2
    return to_frames(video[:, :, middle : middle + 1])[0]


def xt_picture(video: Tensor) -> np.ndarray:
    """The middle row of pixels over time, (n T, W, 3): each frame's row n times, so that few frames can be seen."""
    repeats = -(-SMALLEST_XT // video.shape[2])
    return np.repeat(to_frames(xt_slice(video)[None, :, None])[0], repeats, axis=0)


def _save(path: Path, captions: list[str], pictures: list[np.ndarray]) -> None:
    board = SideBySide(captions, *pictures[0].shape[:2])
    with replacing(path) as partial:
        Image.fromarray(board(pictures)).save(partial)
