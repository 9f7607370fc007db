"""Restored clips kept as small videos, and where they lie: the evaluation writes them, the report plays them."""

import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from torch import Tensor

from lvis.data.frames import to_frames
from lvis.data.video import VideoWriter

RATE = Fraction(16)  # frames per second, the rate that Wan was trained at
QUALITY = 14  # of H.264, finer than usual: the differences are what is looked at
MEASUREMENT, CLEAN = "measurement", "clean"


def video_path(folder: Path, row: Mapping[str, Any], name: str) -> Path:
    """`folder`/videos/<label>_<task>_<vae>_<clip>_<name>.mp4 of the run that `row` (of results.jsonl) belongs to.

    Characters that a file name or a link cannot hold are replaced by a hyphen.
    """
    return folder / "videos" / f"{stem(row)}_{safe(name)}.mp4"


def stem(row: Mapping[str, Any]) -> str:
    """<label>_<task>_<vae>_<clip>, what the pictures and videos of one clip begin with."""
    return safe("_".join(str(row[key]) for key in ("label", "task", "vae", "clip")))


def safe(name: str) -> str:
    return re.sub(r"[^\w.()+=,-]", "-", name)


def save_videos(folder: Path, row: Mapping[str, Any], videos: Mapping[str, Tensor]) -> None:
    """Write each of `videos`, (1, 3, T, H, W) in [-1, 1], to `video_path` under its name.

    Raises:
        UserError: the folder cannot be written.
    """
    for name, video in videos.items():
        with VideoWriter(video_path(folder, row, name), RATE, QUALITY) as writer:
            for frame in to_frames(video):
                writer.write(frame)
