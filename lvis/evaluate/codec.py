"""A video as a lossy file has it, for protocols that score files."""

import tempfile
from fractions import Fraction
from pathlib import Path

from torch import Tensor

from lvis.data.frames import to_frames, to_video
from lvis.data.video import VideoReader, VideoWriter

RATE = Fraction(16)  # Wan's frames per second; no score depends on it


def through_h264(video: Tensor, quality: int) -> Tensor:
    """(1, 3, T, H, W) in [-1, 1], encoded with x264 at this constant rate factor and read back."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_clip(path, video, quality)
        with VideoReader(str(path)) as reader:
            height, width = video.shape[-2:]  # the file's sides are even
            return to_video([frame[:height, :width] for frame in reader])


def write_clip(path: Path, video: Tensor, quality: int) -> None:
    """Write (1, 3, T, H, W) in [-1, 1] as H.264."""
    with VideoWriter(path, RATE, quality) as writer:
        for frame in to_frames(video):
            writer.write(frame)
