"""The captioned foreground object: "a small red disk moves left"."""

from dataclasses import dataclass

import numpy as np

from lvis.data.dead_leaves import coverage

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 30, 35),
    "green": (30, 165, 60),
    "blue": (35, 70, 215),
    "yellow": (240, 215, 40),
    "orange": (240, 130, 25),
    "purple": (140, 45, 180),
    "white": (245, 245, 245),
    "black": (12, 12, 12),
}
FORMS = ("disk", "square", "triangle", "ring")
DIRECTIONS: dict[str, tuple[int, int]] = {
    "moves left": (-1, 0),
    "moves right": (1, 0),
    "moves up": (0, -1),
    "moves down": (0, 1),
    "stands still": (0, 0),
}
# Radii as shares of the shorter side; the gap between the words makes each of them true.
SIZES: dict[str, tuple[float, float]] = {
    "small": (0.08, 0.12),
    "": (0.14, 0.19),
    "large": (0.23, 0.3),
}


@dataclass(frozen=True)
class Foreground:
    """One object of a single colour over its whole course.

    `centre` (T, 2) is (x, y) in pixels; `radius` is the circumscribed one in pixels; `colour` is
    RGB in [0, 255].
    """

    caption: str
    form: str
    colour: np.ndarray
    radius: float
    centre: np.ndarray

    def paint(self, picture: np.ndarray, frame: int) -> None:
        """Lays the object over a float32 picture (H, W, 3) in [0, 255], in place.

        Its light falls from above: the colour fades by a tenth towards the lower edge.
        """
        x, y = self.centre[frame]
        reach = self.radius + 1
        left, top = max(0, int(x - reach)), max(0, int(y - reach))
        right = min(picture.shape[1], int(x + reach) + 2)
        bottom = min(picture.shape[0], int(y + reach) + 2)
        if left >= right or top >= bottom:
            return
        dx = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(x)
        dy = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y)
        angle = {"square": np.pi / 4, "triangle": -np.pi / 2}.get(self.form, 0.0)
        share = coverage(self.form, dx, dy, self.radius, angle)[..., None]
        light = 0.95 - 0.05 * np.clip(dy / self.radius, -1, 1)[..., None]
        inside = picture[top:bottom, left:right]
        inside += share * (light * self.colour - inside)


def draw_foreground(rng: np.random.Generator, frames: int, size: tuple[int, int]) -> Foreground:
    """An object that crosses the middle of its course in the middle of the clip.

    It moves at 0.7 to 2 % of the axis's length per frame, and over no more than 70 % of it, so that
    the caption can be seen in any clip of a second; a clip of one frame stands still.
    """
    height, width = size
    colour = list(COLOURS)[rng.integers(len(COLOURS))]
    form = FORMS[rng.integers(len(FORMS))]
    word = list(SIZES)[rng.integers(len(SIZES))]
    motion = list(DIRECTIONS)[rng.integers(len(DIRECTIONS))] if frames > 1 else "stands still"
    radius = rng.uniform(*SIZES[word]) * min(size)
    direction = np.array(DIRECTIONS[motion], float)
    travel = min(rng.uniform(0.007, 0.02) * (frames - 1), 0.7) * np.array([width, height])
    middle = rng.uniform(0.35, 0.65, 2) * (width, height)
    across = 1 - np.abs(direction)
    middle += across * rng.uniform(-0.15, 0.15, 2) * (width, height)
    progress = np.arange(frames)[:, None] / max(frames - 1, 1) - 0.5
    sway = rng.uniform(0, 0.02) * min(size) * np.sin(2 * np.pi * progress + rng.uniform(0, 6))
    moving = motion != "stands still"
    centre = middle + progress * travel * direction + moving * across * sway
    tint = np.clip(np.array(COLOURS[colour]) + rng.uniform(-8, 8, 3), 0, 255).astype(np.float32)
    article = "an" if not word and colour[0] in "aeiou" else "a"
    caption = " ".join(filter(None, [article, word, colour, form, motion]))
    return Foreground(caption, form, tint, float(radius), centre)
