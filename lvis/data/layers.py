"""What a synthetic clip is stacked from: a backdrop, sparse layers and single sprites.

Each has its own motion, and a canvas at twice the picture's resolution (`motion.oversample`), which
is continued by reflection where the picture reaches past it.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from lvis.data.dead_leaves import drop_leaf, drop_leaves
from lvis.data.motion import OVERSAMPLING, Motion, draw_motion, oversample, warp
from lvis.data.photographs import draw_photograph
from lvis.data.textures import draw_texture, strokes

LEAF_CANVAS = 1.5  # a canvas of leaves exceeds the picture by half, then its mirror image follows


@dataclass(frozen=True)
class Backdrop:
    """An opaque canvas, uint8 (h, w, 4).

    The fourth channel is not used: OpenCV warps four channels much faster than three.
    """

    canvas: np.ndarray
    motion: Motion

    def paint(self, picture: np.ndarray, frame: int) -> None:
        picture[:] = through_window(self.canvas, self.motion, frame, picture.shape[:2])[..., :3]


@dataclass(frozen=True)
class SparseLayer:
    """A canvas with holes, uint8 (h, w, 4): premultiplied colour and coverage."""

    canvas: np.ndarray
    motion: Motion

    def paint(self, picture: np.ndarray, frame: int) -> None:
        lay_over(picture, through_window(self.canvas, self.motion, frame, picture.shape[:2]))


@dataclass(frozen=True)
class Sprite:
    """One leaf on a small canvas, uint8 (side, side, 4), premultiplied.

    `motion.offset` is the course of its centre in the picture. What leaves the picture comes back
    at the other side, so that a long clip does not run empty.
    """

    canvas: np.ndarray
    motion: Motion

    def paint(self, picture: np.ndarray, frame: int) -> None:
        side = int(self.canvas.shape[0] / OVERSAMPLING * self.motion.zoom[frame]) + 2
        height, width = picture.shape[:2]
        centre = self.motion.offset[frame] % (width + side, height + side) - side / 2
        corner = np.floor(centre - (side - 1) / 2).astype(int)
        seen = warp(
            self.canvas,
            self.motion.angle[frame],
            self.motion.zoom[frame],
            np.zeros(2),
            centre - corner,
            (side, side),
            cv2.BORDER_CONSTANT,
        )
        left, top = np.maximum(corner, 0)
        right, bottom = np.minimum(corner + side, (width, height))
        if left < right and top < bottom:
            inside = (
                slice(top - corner[1], bottom - corner[1]),
                slice(left - corner[0], right - corner[0]),
            )
            lay_over(picture[top:bottom, left:right], seen[inside])


def through_window(
    canvas: np.ndarray, motion: Motion, frame: int, size: tuple[int, int]
) -> np.ndarray:
    """The view of a canvas that covers the picture; it turns about the picture's centre."""
    middle = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    angle, zoom = motion.angle[frame], motion.zoom[frame]
    return warp(canvas, angle, zoom, -motion.offset[frame], middle, size)


def lay_over(picture: np.ndarray, layer: np.ndarray) -> None:
    """Composes premultiplied uint8 (h, w, 4) over a float32 picture (h, w, 3), in place."""
    picture *= 1 - layer[..., 3:].astype(np.float32) / 255
    picture += layer[..., :3]


def opaque(canvas: np.ndarray) -> np.ndarray:
    return np.pad(canvas, ((0, 0), (0, 0), (0, 1)))


def photograph_backdrop(
    rng: np.random.Generator, size: tuple[int, int], motion: Motion, split: str
) -> Backdrop:
    """A view of 22 to 80 % of a photograph, area-averaged to the picture's resolution first.

    It is magnified by no more than 1.25 unless the whole photograph is too small for the picture.
    """
    photo = draw_photograph(rng, split)
    photo_side, side = min(photo.shape[:2]), min(size)
    share = np.exp(rng.uniform(np.log(0.22), np.log(0.8)))
    share = min(max(share, side / (1.25 * photo_side)), 1.0)
    scale = side / (share * photo_side)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=method)
    if rng.random() < 0.5:
        canvas = canvas[:, ::-1]
    gamma, gain = np.exp(rng.uniform(-0.3, 0.3)), rng.uniform(0.85, 1.1, 3)
    ramp = 255 * (np.arange(256) / 255)[:, None] ** gamma * gain
    canvas = cv2.LUT(np.ascontiguousarray(canvas), np.clip(ramp, 0, 255).astype(np.uint8)[None])
    slack = np.maximum((canvas.shape[1] - size[1], canvas.shape[0] - size[0]), 0) / 2
    start = rng.uniform(-1, 1, 2) * slack
    return Backdrop(
        oversample(opaque(canvas)), Motion(motion.offset + start, motion.angle, motion.zoom)
    )


def texture_backdrop(
    rng: np.random.Generator, size: tuple[int, int], motion: Motion, split: str
) -> Backdrop:
    """A plain texture, half of the time a procedural one."""
    return Backdrop(oversample(opaque(draw_texture(rng, leaf_canvas(size), split, 0.5))), motion)


def leaves_backdrop(
    rng: np.random.Generator, size: tuple[int, int], motion: Motion, split: str
) -> Backdrop:
    """Leaves over leaves, on a texture that shows through here and there."""
    canvas = draw_texture(rng, leaf_canvas(size), split).copy()
    drop_leaves(rng, canvas, rng.uniform(0.7, 1.6), min(size), split)
    return Backdrop(oversample(opaque(canvas)), motion)


def leaves_layer(
    rng: np.random.Generator, size: tuple[int, int], motion: Motion, split: str
) -> SparseLayer:
    """Scattered leaves, nearer than the backdrop."""
    canvas = np.zeros((*leaf_canvas(size), 4), np.float32)
    drop_leaves(rng, canvas, rng.uniform(0.1, 0.3), min(size), split)
    return SparseLayer(oversample(canvas), motion)


def strokes_layer(
    rng: np.random.Generator, size: tuple[int, int], motion: Motion, split: str
) -> SparseLayer:
    """Thin lines and lettering."""
    canvas = np.zeros((*leaf_canvas(size), 4), np.uint8)
    photo = draw_photograph(rng, split)
    strokes(rng, canvas, photo, int(rng.integers(8, 40)), min(size))
    return SparseLayer(oversample(canvas), motion)


def draw_sprite(
    rng: np.random.Generator, size: tuple[int, int], frames: int, radius: float, split: str
) -> Sprite:
    """One leaf that goes its own way, spinning or not; radius in pixels."""
    side = int(2 * 1.5 * radius) + 4
    canvas = np.zeros((side, side, 4), np.float32)
    photo = draw_photograph(rng, split, int(rng.integers(3)))
    drop_leaf(rng, canvas, np.full(2, (side - 1) / 2), radius, photo, split)
    velocity = rng.normal(0, 0.008, 2) * min(size)
    spin = rng.normal(0, 0.03) if rng.random() < 0.5 else 0.0
    motion = draw_motion(rng, frames, velocity, max_angle=0.1, max_zoom=0.1, spin=spin)
    start = rng.uniform(0, 1, 2) * (size[1] + side, size[0] + side)
    return Sprite(oversample(canvas), Motion(motion.offset + start, motion.angle, motion.zoom))


def leaf_canvas(size: tuple[int, int]) -> tuple[int, int]:
    return int(LEAF_CANVAS * size[0]), int(LEAF_CANVAS * size[1])
