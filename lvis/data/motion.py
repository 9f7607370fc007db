"""Smooth motion: paths, and the warp of a canvas along one."""

from dataclasses import dataclass

import cv2
import numpy as np

# Canvases hold twice the picture's resolution (interpolated, so no finer detail): from there a linear
# warp, an order of magnitude faster than a cubic one, keeps moving detail sharp and does not alias.
OVERSAMPLING = 2


@dataclass(frozen=True)
class Motion:
    """Where a layer goes, frame by frame, seen in the picture.

    `offset` (T, 2) is in pixels (x to the right, y down), `angle` (T,) in radians, `zoom` (T,) a
    magnification; all begin anywhere and are smooth in time.
    """

    offset: np.ndarray
    angle: np.ndarray
    zoom: np.ndarray


def swing(rng: np.random.Generator, frames: int, amplitude: float) -> np.ndarray:
    """A slow sine (T,) of 40 to 120 frames a period, starting at any phase."""
    period, phase = rng.uniform(40, 120), rng.uniform(0, 2 * np.pi)
    return amplitude * np.sin(2 * np.pi * np.arange(frames) / period + phase)


def draw_motion(
    rng: np.random.Generator,
    frames: int,
    velocity: np.ndarray,
    *,
    max_angle: float = 0.12,
    max_zoom: float = 0.15,
    spin: float = 0.0,
) -> Motion:
    """A drift at `velocity` (pixels a frame) with a gentle sway, turn and zoom on top.

    The sway's speed stays below a third of the drift's, so the direction of the drift is never in
    doubt. `spin` adds a constant turn (radians a frame).
    """
    time = np.arange(frames)
    sway_speed = rng.uniform(0, 0.3) * float(np.linalg.norm(velocity))
    period, phase = rng.uniform(20, 60), rng.uniform(0, 2 * np.pi, 2)
    sway = np.sin(2 * np.pi * time[:, None] / period + phase) * sway_speed * period / (2 * np.pi)
    offset = time[:, None] * velocity + sway - sway[:1]
    angle = swing(rng, frames, rng.uniform(0, max_angle)) + spin * time
    return Motion(offset, angle, np.exp(swing(rng, frames, rng.uniform(0, max_zoom))))


def oversample(canvas: np.ndarray) -> np.ndarray:
    """A canvas (h, w, C) in the picture's resolution, made ready for `warp`: uint8 (2 h, 2 w, C)."""
    pixels = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    factor = OVERSAMPLING
    return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


def warp(
    canvas: np.ndarray,
    motion: Motion,
    frame: int,
    size: tuple[int, int],
    border: int = cv2.BORDER_REFLECT_101,
) -> np.ndarray:
    """An oversampled canvas, moved as of this frame, seen through a window (h, w) at its centre."""
    height, width = size
    cosine, sine = (
        OVERSAMPLING * f(motion.angle[frame]) / motion.zoom[frame] for f in (np.cos, np.sin)
    )
    linear = np.array([[cosine, sine], [-sine, cosine]])
    window_centre = np.array([(width - 1) / 2, (height - 1) / 2])
    canvas_centre = np.array([(canvas.shape[1] - 1) / 2, (canvas.shape[0] - 1) / 2])
    shift = canvas_centre - linear @ (window_centre + motion.offset[frame])
    matrix = np.concatenate([linear, shift[:, None]], 1)
    return cv2.warpAffine(
        canvas,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=border,
    )
