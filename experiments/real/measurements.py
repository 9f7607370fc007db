"""Clean clips from a folder of real videos, and what is measured of them."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lvis.data.frames import IMAGE_SUFFIXES, fit_to, to_frames, to_video
from lvis.data.numbering import natural_key
from lvis.data.video import open_source
from lvis.errors import UserError
from lvis.evaluate.clips import VIDEO_SUFFIXES
from lvis.evaluate.codec import through_h264
from lvis.operators import LinearOperator

SIZES = {"shrunk": (128, 224), "native": (480, 848)}
FRAMES = {"shrunk": 33, "native": 21}
TASKS = ("inpaint", "deblur", "sr4", "temporal_average", "sr_plus", "denoise")
H264, QUALITY = "h264", 23
# denoising without noise is no task
NOISES = {task: ("0", "0.02", H264) for task in TASKS} | {"denoise": ("0.05", "0.1")}


@dataclass(frozen=True)
class Cell:
    """One measurement: of which clip, at which size, by which operator, with which noise."""

    clip: str
    size: str
    task: str
    noise: str

    @property
    def noise_std(self) -> float:
        """The Gaussian noise that is added, which solvers are told; compression is not told."""
        return 0.0 if self.noise == H264 else float(self.noise)

    @property
    def name(self) -> str:
        return f"{self.size}_{self.task}_{self.noise}_{self.clip}"


def find_clips(folder: str | Path) -> dict[str, Path]:
    """Name -> path of the videos, and folders of frames, of a folder.

    Raises:
        UserError: no such folder, or nothing in it.
    """
    if not Path(folder).is_dir():
        raise UserError(f"--videos {folder} is not a folder; give one with videos in it")
    inside = sorted(Path(folder).iterdir(), key=lambda path: natural_key(path.name))
    found = {path.stem: path for path in inside if _is_clip(path)}
    if not found:
        raise UserError(f"--videos {folder} holds no videos and no folders of frames")
    return found


def read_clip(path: Path, size: str, frames: int) -> Tensor | None:
    """The first `frames` frames, or all there are, as (1, 3, T, H, W); None where they are too small.

    "shrunk" scales to cover 128 x 224 and cuts about the centre; "native" cuts 480 x 848 without scaling.
    """
    height, width = SIZES[size]
    taken: list[np.ndarray] = []
    with open_source(str(path)) as source:
        if source.info.height < height or source.info.width < width:
            return None
        for frame in islice(iter(source), frames):
            if size == "shrunk":
                frame = fit_to(frame[None], (height, width))[0]
            else:
                top, left = (frame.shape[0] - height) // 2, (frame.shape[1] - width) // 2
                frame = frame[top : top + height, left : left + width]
            taken.append(frame)
    return to_video(taken)


def measure(operator: LinearOperator, clean: Tensor, cell: Cell) -> Tensor:
    """y as a file holds it: 8 bits, and for "h264" encoded at crf 23 and read back.

    The noise is drawn from the clip's name, the same for every task, method and run.
    """
    generator = torch.Generator().manual_seed(zlib.crc32(cell.clip.encode()))
    measurement = operator.measure(clean, generator)
    if cell.noise == H264:
        return through_h264(measurement, QUALITY)
    return to_video(to_frames(measurement))


def cells(
    clips: list[str], sizes: list[str], tasks: list[str], noises: list[str]
) -> Iterator[Cell]:
    """All measurements asked for, those of one clip and size after one another."""
    for size in sizes:
        for clip in clips:
            for task in tasks:
                for noise in NOISES[task]:
                    if not noises or noise in noises:
                        yield Cell(clip, size, task, noise)


def _is_clip(path: Path) -> bool:
    if path.is_dir():
        return any(file.suffix.lower() in IMAGE_SUFFIXES for file in path.iterdir())
    return path.suffix.lower() in VIDEO_SUFFIXES
