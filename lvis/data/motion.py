"""Smooth motion: paths, and the warp of a canvas along one."""

from dataclasses import dataclass

import cv2
import numpy as np

# Canvases hold twice the picture's resolution (interpolated, so no finer detail): from there a
# linear warp, ten times faster than a cubic one, keeps moving detail sharp and does not alias.
OVERSAMPLING = 2


@dataclass(frozen=True)
class Motion:
    """Where a layer goes, frame by frame, seen in the picture.

    `offset` (T, 2) is in pixels (x to the right, y down) before the turn and the zoom, `angle` (T,)
    in radians, `zoom` (T,) a magnification; all begin anywhere and are smooth in time.
    """

    offset: np.ndarray
    angle: np.ndarray
    zoom: np.ndarray


def swing(rng: np.random.Generator, frames: int, amplitude: float) -> np.ndarray:
    """A slow sine (T,) of 40 to 120 frames per period, starting at any phase."""
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
    """A drift at `velocity` (pixels per frame) with a gentle sway, turn and zoom on top.

    The sway's speed stays below a third of the drift's, so the direction of the drift is never in
    doubt. `spin` adds a constant turn (radians per frame).
    """
    time = np.arange(frames)
    sway_speed = rng.uniform(0, 0.3) * float(np.linalg.norm(velocity))
    period, phase = rng.uniform(20, 60), rng.uniform(0, 2 * np.pi, 2)
    sway = np.sin(2 * np.pi * time[:, None] / period + phase) * sway_speed * period / (2 * np.pi)
    offset = time[:, None] * velocity + sway - sway[:1]
    angle = swing(rng, frames, rng.uniform(0, max_angle)) + spin * time
    return Motion(offset, angle, np.exp(swing(rng, frames, rng.uniform(0, max_zoom))))


def oversample(canvas: np.ndarray) -> np.ndarray:
    """A canvas (h, w, C) at the picture's resolution -> uint8 (2 h, 2 w, C), for `warp`."""
    pixels = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    factor = OVERSAMPLING
    return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


def warp(
    canvas: np.ndarray,
    angle: float,
    zoom: float,
    point: np.ndarray,
    pixel: np.ndarray,
    size: tuple[int, int],
    border: int = cv2.BORDER_REFLECT_101,
) -> np.ndarray:
    """An oversampled canvas, turned and magnified, seen through a window (h, w); uint8 (h, w, C).

    `point` (x, y), in the picture's pixels from the canvas's centre, is seen at `pixel` (x, y) of
    the window, and is what the canvas turns about.
    """
    cosine, sine = OVERSAMPLING / zoom * np.cos(angle), OVERSAMPLING / zoom * np.sin(angle)
    linear = np.array([[cosine, sine], [-sine, cosine]])
    centre = np.array([(canvas.shape[1] - 1) / 2, (canvas.shape[0] - 1) / 2])
    shift = centre + OVERSAMPLING * point - linear @ pixel
    return cv2.warpAffine(
        canvas,
        np.concatenate([linear, shift[:, None]], 1),
        (size[1], size[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=border,
    )
