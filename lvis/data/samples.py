"""Sample clips of the held-out split, made on the fly, as lossless video."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from lvis.data.frames import to_frames
from lvis.data.layers import Backdrop, opaque
from lvis.data.motion import Motion, oversample
from lvis.data.photographs import PHOTOGRAPHS, photograph
from lvis.data.synthetic import synthetic_clip
from lvis.data.video import VideoWriter
from lvis.errors import UserError

VIEW = 0.55  # share of the photograph's shorter side that the camera sees
PERIOD = 66  # frames of one round of the camera


@dataclass(frozen=True)
class SampleClip:
    """A clean clip in a file: its name on the page, what it shows, and the prompt ("" for none)."""

    name: str
    path: Path
    about: str
    prompt: str = ""


def synthetic(
    folder: Path, seed: int, number: int, frames: int, size: Sequence[int], rate: Fraction
) -> SampleClip:
    """Clip `number` of the held-out synthetic clips, with its caption as the prompt.

    Raises:
        UserError: frames, size or number out of range, or the folder cannot be written.
    """
    clip = synthetic_clip(seed, number, frames, size, "val")
    path = write(folder / "synthetic.mkv", to_frames(clip.video[None]), rate)
    return SampleClip("synthetic", path, clip.caption or "no caption", clip.caption)


def camera_move(
    folder: Path, name: str, frames: int, size: Sequence[int], rate: Fraction
) -> SampleClip:
    """The camera circles over a photograph while it turns and comes closer a little.

    Raises:
        UserError: the photograph is not one of the held-out ones, or the folder cannot be written.
    """
    if name not in PHOTOGRAPHS["val"]:
        raise UserError(
            f"clips.photograph={name} is not held out from training; use one of "
            f"{', '.join(PHOTOGRAPHS['val'])}"
        )
    height, width = int(size[0]), int(size[1])
    picture = photograph(name)
    scale = min(height, width) / (VIEW * min(picture.shape[:2]))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=method)
    slack = np.array([max(canvas.shape[1] - width, 0), max(canvas.shape[0] - height, 0)]) / 2
    phase = 2 * np.pi * np.arange(frames) / PERIOD
    motion = Motion(
        offset=0.6 * slack * np.stack([np.cos(phase), np.sin(phase)], axis=1),
        angle=0.05 * np.sin(phase),
        zoom=1 + 0.08 * np.sin(phase / 2) ** 2,
    )
    backdrop = Backdrop(oversample(opaque(canvas)), motion)
    video = np.empty((frames, height, width, 3), np.float32)
    for index in range(frames):
        backdrop.paint(video[index], index)
    pixels = np.clip(np.rint(video), 0, 255).astype(np.uint8)
    path = write(folder / "photograph.mkv", pixels, rate)
    return SampleClip("photograph", path, f"a camera move over {name} of scikit-image")


def write(path: Path, frames: np.ndarray, rate: Fraction) -> Path:
    """Frames uint8 (T, H, W, 3) into a video file; returns its path."""
    with VideoWriter(path, rate) as writer:
        for frame in frames:
            writer.write(frame)
    return path
