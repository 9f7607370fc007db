"""Pictures that carry their clip's number and their own, so that a lost, repeated or foreign frame is noticed."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from lvis.data.video import VideoWriter

CELLS = 4  # a picture is CELLS x CELLS black and white cells, a bit each: 8 for the clip, 8 for the frame
RATE = 24
_BITS = CELLS * CELLS


def coded(clip: int, frame: int, height: int, width: int) -> np.ndarray:
    """uint8 (H, W, 3); `clip` and `frame` modulo 256."""
    code = (clip % 256) << 8 | frame % 256
    bits = np.array([code >> place & 1 for place in range(_BITS)], np.uint8).reshape(CELLS, CELLS)
    small = 32 + 192 * bits
    grey = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.repeat(grey[..., None], 3, axis=2)


def decoded(jpeg: bytes) -> tuple[int, int]:
    """The clip's and the frame's number in a JPEG."""
    grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    height, width = grey.shape
    rows, columns = (
        ((np.arange(CELLS) + 0.5) * side / CELLS).astype(int) for side in (height, width)
    )
    middle = cv2.blur(grey, (9, 9))[np.ix_(rows, columns)].ravel() >= 128
    code = int((middle.astype(int) << np.arange(_BITS)).sum())
    return code >> 8, code & 255


def write_clip(path: Path, clip: int, frames: int, side: int) -> Path:
    with VideoWriter(path, Fraction(RATE)) as writer:
        for frame in range(frames):
            writer.write(coded(clip, frame, side, side))
    return path
