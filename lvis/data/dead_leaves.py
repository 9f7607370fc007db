"""Dead leaves: opaque shapes that fall on each other, with the size law of natural images.

Radii follow a density ~ r^-3 between two bounds, the only law under which the picture of occluding
shapes is scale invariant (Lee, Mumford & Huang, "Occlusion models for natural images", IJCV 2001,
section 3).
"""

import numpy as np

from lvis.data.photographs import draw_crop, draw_photograph
from lvis.data.textures import draw_colour, draw_texture, gradient

SHAPES = ("disk", "ellipse", "rectangle", "triangle", "square", "pentagon", "hexagon")
CORNERS = {"triangle": 3, "square": 4, "pentagon": 5, "hexagon": 6}


def draw_radii(rng: np.random.Generator, count: int, smallest: float, largest: float) -> np.ndarray:
    """Radii (count,) in [smallest, largest] with density ~ r^-3, by inverting its distribution."""
    uniform = rng.random(count)
    low, high = smallest**-2.0, largest**-2.0
    return np.asarray((low - uniform * (low - high)) ** -0.5)


def mean_area(smallest: float, largest: float) -> float:
    """The mean of pi r^2 under the same law, in pixels."""
    return 2 * np.pi * np.log(largest / smallest) / (smallest**-2.0 - largest**-2.0)


def coverage(
    shape: str,
    dx: np.ndarray,
    dy: np.ndarray,
    radius: float,
    angle: float = 0.0,
    aspect: float = 1.0,
) -> np.ndarray:
    """The share of each pixel that a shape covers, float32 in [0, 1], from its signed distance.

    `dx` (1, w) and `dy` (h, 1) are pixels from the centre; `radius` is the circumscribed one,
    `aspect` <= 1 squeezes the second axis of an ellipse or a rectangle; a "ring" leaves out its
    inner 55 %.
    """
    if shape in ("disk", "ring"):
        distance = np.sqrt(dx * dx + dy * dy) - radius
        if shape == "ring":
            distance = np.maximum(distance, -(distance + 0.45 * radius))
        return np.clip(0.5 - distance, 0, 1).astype(np.float32)
    cosine, sine = np.cos(angle), np.sin(angle)
    u, v = dx * cosine + dy * sine, dy * cosine - dx * sine
    if shape == "ellipse":
        first, second = radius, max(radius * aspect, 0.75)
        level = np.sqrt((u / first) ** 2 + (v / second) ** 2)
        slope = np.sqrt((u / first**2) ** 2 + (v / second**2) ** 2)
        distance = level * (level - 1) / np.maximum(slope, 1e-6)
    elif shape == "rectangle":
        first, second = radius, max(radius * aspect, 0.75)
        distance = np.maximum(np.abs(u) - first, np.abs(v) - second)
    else:
        corners = CORNERS[shape]
        normals = np.pi / corners * (2 * np.arange(corners) + 1)
        sides = [u * np.cos(a) + v * np.sin(a) for a in normals]
        distance = np.maximum.reduce(sides) - radius * np.cos(np.pi / corners)
    return np.clip(0.5 - distance, 0, 1).astype(np.float32)


def filling(
    rng: np.random.Generator, size: tuple[int, int], radius: float, photo: np.ndarray, split: str
) -> np.ndarray:
    """What a leaf is made of, broadcastable to (h, w, 3): a colour, a ramp, a texture."""
    kind = rng.random()
    if radius < 5 or kind < 0.3:
        return draw_colour(rng, photo)
    if kind < 0.5:
        return gradient(rng, size, photo)
    if kind < 0.8:
        tint = rng.uniform(0.6, 1.3) * rng.uniform(0.85, 1.15, 3)
        return np.minimum(draw_crop(rng, photo, size) * tint.astype(np.float32), 255)
    return draw_texture(rng, size, split, fine_share=0.8)


def drop_leaf(
    rng: np.random.Generator,
    canvas: np.ndarray,
    centre: np.ndarray,
    radius: float,
    photo: np.ndarray,
    split: str,
) -> None:
    """Lays one leaf over a canvas in place; `centre` is (x, y) in pixels.

    The canvas is float32 (h, w, 3) in [0, 255], or (h, w, 4) with premultiplied colour and coverage
    in [0, 255].
    """
    shape = SHAPES[rng.integers(len(SHAPES))]
    angle, aspect = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.8)
    reach = radius * (1.5 if shape == "rectangle" else 1.0) + 1
    left, top = (max(0, int(np.floor(c - reach))) for c in centre)
    right = min(canvas.shape[1], int(np.ceil(centre[0] + reach)) + 1)
    bottom = min(canvas.shape[0], int(np.ceil(centre[1] + reach)) + 1)
    if left >= right or top >= bottom:
        return
    dx = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(centre[0])
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(centre[1])
    share = coverage(shape, dx, dy, radius, angle, aspect)[..., None]
    inside = canvas[top:bottom, left:right]
    fill = filling(rng, (bottom - top, right - left), radius, photo, split)
    inside *= 1 - share
    inside[..., :3] += share * fill
    if canvas.shape[2] == 4:
        inside[..., 3:] += 255 * share


def drop_leaves(
    rng: np.random.Generator, canvas: np.ndarray, density: float, side: float, split: str
) -> None:
    """Covers a canvas in place with leaves whose areas sum to `density` times the canvas.

    Radii reach from 2 to 4.5 pixels up to 0.15 to 0.35 of `side` pixels (both ends drawn, and grown
    in proportion when `side` is more than 128, so that the number of leaves does not depend on the
    resolution).
    """
    smallest = rng.uniform(2.0, 4.5) * max(1.0, side / 128)
    largest = max(rng.uniform(0.15, 0.35) * side, 2 * smallest)
    height, width = canvas.shape[:2]
    count = int(np.clip(density * height * width / mean_area(smallest, largest), 8, 500))
    photo = draw_photograph(rng, split, int(rng.integers(2)))
    centres = rng.uniform((0, 0), (width, height), (count, 2))
    for centre, radius in zip(centres, draw_radii(rng, count, smallest, largest), strict=True):
        drop_leaf(rng, canvas, centre, float(radius), photo, split)
