"""Procedural textures: the thin lines, lettering and grain that few photographs hold."""

import cv2
import numpy as np

from lvis.data.photographs import draw_crop, draw_photograph

LETTERS = np.array(list("abcdefghikmnoprstuvwxyzABCDEFGHKLMNPRSTUVXYZ0123456789+-=%&?"))


def draw_colour(rng: np.random.Generator, photo: np.ndarray) -> np.ndarray:
    """One pixel's colour out of a photograph, float32 (3,) in [0, 255]."""
    row, column = rng.integers(photo.shape[0]), rng.integers(photo.shape[1])
    return photo[row, column].astype(np.float32)


def two_colours(rng: np.random.Generator, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two colours that differ visibly: both of the photograph, the second pushed away if needed."""
    first, second = draw_colour(rng, photo), draw_colour(rng, photo)
    if abs(float(first.mean() - second.mean())) < 50:
        second = np.where(first.mean() > 127, first - 90, first + 90)
    return first, np.clip(second, 0, 255).astype(np.float32)


def mix(weight: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first + weight[..., None] * (second - first)


def plane(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A coordinate in pixels along a random direction, float32 (h, w)."""
    angle = rng.uniform(0, np.pi)
    rows = np.arange(size[0], dtype=np.float32)[:, None]
    columns = np.arange(size[1], dtype=np.float32)[None, :]
    return columns * np.float32(np.cos(angle)) + rows * np.float32(np.sin(angle))


def gradient(rng: np.random.Generator, size: tuple[int, int], photo: np.ndarray) -> np.ndarray:
    """A linear ramp between two colours, float32 (h, w, 3)."""
    ramp = plane(rng, size)
    ramp = (ramp - ramp.min()) / max(float(np.ptp(ramp)), 1.0)
    return mix(ramp, draw_colour(rng, photo), draw_colour(rng, photo))


def grating(rng: np.random.Generator, size: tuple[int, int], photo: np.ndarray) -> np.ndarray:
    """Stripes, 3 to 16 pixels a period, between soft and band-limited square, float32 (h, w, 3)."""
    period = float(np.exp(rng.uniform(np.log(3), np.log(16))))
    hardness = rng.uniform(0.5, 1.0) * max(period / 4, 1.0)
    wave = np.sin(2 * np.pi / period * plane(rng, size))
    return mix(np.clip(0.5 + 0.5 * hardness * wave, 0, 1), *two_colours(rng, photo))


def grid(rng: np.random.Generator, size: tuple[int, int], photo: np.ndarray) -> np.ndarray:
    """A rotated grid of anti-aliased lines, 1 to 2.5 pixels wide, float32 (h, w, 3)."""
    spacing = rng.uniform(6, 24, size=2) if rng.random() < 0.5 else np.full(2, rng.uniform(6, 24))
    half_width = rng.uniform(0.5, 1.25)
    angle = rng.uniform(0, np.pi / 2) if rng.random() < 0.5 else 0.0
    rows = np.arange(size[0], dtype=np.float32)[:, None]
    columns = np.arange(size[1], dtype=np.float32)[None, :]
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    lines = np.zeros(size, np.float32)
    for along, period in zip(
        (columns * cosine + rows * sine, rows * cosine - columns * sine), spacing, strict=True
    ):
        distance = np.abs((along + period / 2) % period - period / 2)
        lines = np.maximum(lines, np.clip(half_width + 0.5 - distance, 0, 1))
    return mix(lines, *two_colours(rng, photo))


def grain(rng: np.random.Generator, size: tuple[int, int], photo: np.ndarray) -> np.ndarray:
    """Noise with a power-law spectrum, sometimes stretched like grass or fur, float32 (h, w, 3)."""
    noise = np.zeros(size, np.float32)
    stretch = float(np.exp(rng.uniform(0, np.log(6)))) if rng.random() < 0.5 else 1.0
    roughness = rng.uniform(0.5, 1.1)
    scale = 1.0 if rng.random() < 0.5 else 2.0
    while scale < min(size):
        height = max(2, int(size[0] / (scale * stretch)))
        coarse = rng.standard_normal((height, max(2, int(size[1] / scale))), dtype=np.float32)
        octave = cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
        noise += np.float32(scale**roughness) * octave
        scale *= 2
    noise -= noise.mean()
    contrast = rng.uniform(0.18, 0.4) / max(float(noise.std()), 1e-6)
    return mix(np.clip(0.5 + contrast * noise, 0, 1), *two_colours(rng, photo))


def strokes(
    rng: np.random.Generator, canvas: np.ndarray, photo: np.ndarray, count: int, side: float
) -> None:
    """Draws lines, curves, outlines and lettering into a canvas (h, w, 3 or 4) in place.

    A fourth channel is coverage in [0, 255] over premultiplied colour. `side` (pixels) sets the
    lengths.
    """
    height, width = canvas.shape[:2]
    for _ in range(count):
        opaque = (255.0,) if canvas.shape[2] == 4 else ()
        colour = (*(float(c) for c in draw_colour(rng, photo)), *opaque)
        centre = rng.uniform((0, 0), (width, height))
        thickness = int(rng.integers(1, 3))
        kind = rng.integers(4)
        if kind == 0:
            reach = side * rng.uniform(0.1, 0.6) * unit_vector(rng)
            ends = np.stack([centre - reach, centre + reach])
            polyline(canvas, ends, colour, thickness, closed=False)
        elif kind == 1:
            time = np.linspace(-1, 1, 24)[:, None]
            reach, bend = (side * rng.uniform(0.05, 0.4) * unit_vector(rng) for _ in range(2))
            polyline(
                canvas, centre + time * reach + time**2 * bend, colour, thickness, closed=False
            )
        elif kind == 2:
            turn = np.linspace(0, 2 * np.pi, int(rng.choice([3, 4, 6, 25])))[
                :-1, None
            ] + rng.uniform(0, 6)
            outline = np.concatenate([np.cos(turn), np.sin(turn)], 1)
            radius = side * rng.uniform(0.03, 0.2)
            polyline(canvas, centre + radius * outline, colour, thickness, closed=True)
        else:
            word = "".join(rng.choice(LETTERS, int(rng.integers(2, 9))))
            font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX]))
            origin = (int(centre[0] - side / 5), int(centre[1]))
            letters = side / 128 * rng.uniform(0.25, 0.9)
            cv2.putText(canvas, word, origin, font, letters, colour, thickness, cv2.LINE_AA)


def unit_vector(rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def polyline(
    canvas: np.ndarray,
    points: np.ndarray,
    colour: tuple[float, ...],
    thickness: int,
    *,
    closed: bool,
) -> None:
    fixed_point = np.round(points * 16).astype(np.int32)
    cv2.polylines(canvas, [fixed_point], closed, colour, thickness, cv2.LINE_AA, 4)


def drawing(rng: np.random.Generator, size: tuple[int, int], photo: np.ndarray) -> np.ndarray:
    """A page of strokes and lettering over a ramp, float32 (h, w, 3)."""
    canvas = np.clip(gradient(rng, size, photo), 0, 255).astype(np.uint8)
    side = float(min(size))
    strokes(rng, canvas, photo, int(rng.integers(15, 60)), min(side, 200.0))
    return canvas.astype(np.float32)


def draw_texture(
    rng: np.random.Generator, size: tuple[int, int], split: str, fine_share: float = 0.35
) -> np.ndarray:
    """A filling for a shape or a backdrop, float32 (h, w, 3) in [0, 255].

    `fine_share` of them are procedural (stripes, grids, grain, strokes), the rest crops of a
    photograph.
    """
    level = int(rng.integers(3))
    photo = draw_photograph(rng, split, level)
    if rng.random() >= fine_share:
        return draw_crop(rng, photo, size).astype(np.float32)
    return (grating, grid, grain, grain, drawing)[rng.integers(5)](rng, size, photo)
