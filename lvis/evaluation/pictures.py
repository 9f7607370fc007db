"""The pictures that an evaluation keeps of a clip."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from lvis.data.frames import to_frames
from lvis.evaluation.methods import Restoration
from lvis.files import replacing
from lvis.metrics import xt_slice
from lvis.restoring.comparison import SideBySide

SMALLEST_XT = 96  # rows of pixels; a slice of few frames is drawn with each of them repeated


def save_picture(
    path: Path, visible: Tensor, restored: dict[str, Restoration], clean: Tensor
) -> None:
    """The middle frame of the measurement, of every answer and of the clean clip, side by side.

    Beside it `<name>_xt.png`: their middle rows of pixels, through time from top to bottom.
    """
    frame = clean.shape[2] // 2
    videos = (
        {"measurement": visible}
        | {name: r.video for name, r in restored.items()}
        | {"clean": clean}
    )
    stills = [to_frames(video[:, :, frame : frame + 1])[0] for video in videos.values()]
    _save(path, list(videos), stills)
    repeats = -(-SMALLEST_XT // clean.shape[2])
    slices = [to_frames(xt_slice(video)[None, :, None])[0] for video in videos.values()]
    tall = [np.repeat(picture, repeats, axis=0) for picture in slices]
    _save(path.with_name(f"{path.stem}_xt{path.suffix}"), list(videos), tall)


def _save(path: Path, captions: list[str], pictures: list[np.ndarray]) -> None:
    board = SideBySide(captions, *pictures[0].shape[:2])
    with replacing(path) as partial:
        Image.fromarray(board(pictures)).save(partial)
