"""Endless synthetic clips: camera moves, moving dead leaves, a captioned object in front.

Every clip is a pure function of (split, seed, index): nothing is stored, nothing depends on what
was drawn before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from lvis.data.dead_leaves import draw_radii
from lvis.data.foreground import Foreground, draw_foreground
from lvis.data.layers import (
    Backdrop,
    SparseLayer,
    Sprite,
    draw_sprite,
    leaves_backdrop,
    leaves_layer,
    photograph_backdrop,
    strokes_layer,
    texture_backdrop,
)
from lvis.data.motion import Motion, draw_motion
from lvis.data.photographs import PHOTOGRAPHS
from lvis.errors import UserError

SPLITS = tuple(PHOTOGRAPHS)
ENDLESS = 2**40
SMALLEST_SIDE = 16
DIRECTION_WORDS = (((-1, 0), "left"), ((1, 0), "right"), ((0, -1), "up"), ((0, 1), "down"))
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}


@dataclass(frozen=True)
class Clip:
    """A clip, a caption ("" where it has no subject), and the captioned object if there is one.

    `video` is float32 (3, T, H, W), RGB in [-1, 1].
    """

    video: torch.Tensor
    caption: str
    foreground: Foreground | None


def synthetic_clip(
    seed: int,
    index: int,
    frames: int,
    size: Sequence[int] = (128, 128),
    split: str = "train",
) -> Clip:
    """The clip with this number, always the same one for the same arguments.

    A third are camera moves over a photograph, a sixth over a texture, the rest moving dead leaves
    in two to four layers or dead leaves over a photograph. Three of five have an object in front,
    which the caption then describes. Training and validation draw from different photographs and
    different random streams.

    Raises:
        UserError: `frames` is not positive, a side is shorter than 16, the seed or index is
        negative, or the split has
            no photographs.
    """
    height, width = check(seed, index, frames, size, split)
    stream = np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split), index))
    rng = np.random.default_rng(stream)
    layers, caption = draw_layers(rng, frames, (height, width), split)
    foreground = draw_foreground(rng, frames, (height, width)) if rng.random() < 0.6 else None
    video = np.empty((3, frames, height, width), np.float32)
    picture = np.empty((height, width, 3), np.float32)
    for frame in range(frames):
        for layer in layers:
            layer.paint(picture, frame)
        if foreground is not None:
            foreground.paint(picture, frame)
        # rounded, because what the networks meet later comes out of 8-bit files
        video[:, frame] = np.clip(np.rint(picture), 0, 255).transpose(2, 0, 1)
    pixels = torch.from_numpy(video).div_(127.5).sub_(1)
    return Clip(pixels, foreground.caption if foreground else caption, foreground)


def check(seed: int, index: int, frames: int, size: Sequence[int], split: str) -> tuple[int, int]:
    if split not in PHOTOGRAPHS:
        raise UserError(f"split is {split!r}: use one of {', '.join(PHOTOGRAPHS)}.")
    if frames < 1:
        raise UserError(f"frames is {frames}: a clip needs at least 1.")
    if len(size) != 2 or min(size) < SMALLEST_SIDE:
        raise UserError(
            f"size is {list(size)}: give height and width, {SMALLEST_SIDE} pixels or more each."
        )
    if seed < 0 or index < 0:
        raise UserError(f"seed and index are {seed} and {index}: neither may be negative.")
    return int(size[0]), int(size[1])


def draw_layers(
    rng: np.random.Generator, frames: int, size: tuple[int, int], split: str
) -> tuple[list[Backdrop | SparseLayer | Sprite], str]:
    """The stack behind the object, from back to front, and a caption for it.

    The nearer a layer, the faster it drifts, all in one direction: parallax.
    """
    drift, word = draw_drift(rng, size)

    def motion(nearness: float) -> Motion:
        return draw_motion(rng, frames, nearness * drift)

    kind = rng.random()
    layers: list[Backdrop | SparseLayer | Sprite]
    if kind < 0.33:
        layers = [photograph_backdrop(rng, size, motion(1.0), split)]
        caption = f"the camera pans {OPPOSITE[word]}" if word else ""
    elif kind < 0.5:
        layers = [texture_backdrop(rng, size, motion(1.0), split)]
        caption = f"a texture moves {word}" if word else ""
    else:
        backdrop = photograph_backdrop if kind < 0.72 else leaves_backdrop
        layers = [backdrop(rng, size, motion(0.5), split)]
        nearness = 0.5
        for _ in range(rng.integers(1, 4)):
            nearness += rng.uniform(0.1, 0.4)
            layers.append(leaves_layer(rng, size, motion(nearness), split))
        side = min(size)
        for radius in draw_radii(rng, int(rng.integers(2, 9)), 0.05 * side, 0.25 * side):
            layers.append(draw_sprite(rng, size, frames, float(radius), split))
        caption = f"leaves move {word}" if word else ""
    if rng.random() < 0.25:
        layers.append(strokes_layer(rng, size, motion(1.2), split))
    return layers, caption


def draw_drift(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, str]:
    """A velocity (x, y) in pixels per frame and its direction in a word, "" if slow or oblique.

    Speeds are 0.15 to 2.5 % of the shorter side a frame, log-uniform.
    """
    speed = float(np.exp(rng.uniform(np.log(0.0015), np.log(0.025))))
    if rng.random() < 0.3:
        angle = rng.uniform(0, 2 * np.pi)
        return speed * min(size) * np.array([np.cos(angle), np.sin(angle)]), ""
    direction, word = DIRECTION_WORDS[rng.integers(4)]
    along = np.array(direction, float)
    slant = rng.normal(0, 0.12) * np.array([-along[1], along[0]])
    return speed * min(size) * (along + slant), word if speed > 0.003 else ""


class SyntheticVideos(Dataset[dict[str, Any]]):
    """Clips by number: {"video": (3, T, H, W) in [-1, 1], "prompt": str, "index": int}.

    Endless by default (2**40 clips); `length` cuts it to a fixed set.
    """

    def __init__(
        self,
        seed: int,
        frames: int,
        size: Sequence[int] = (128, 128),
        split: str = "train",
        length: int = ENDLESS,
    ) -> None:
        check(seed, 0, frames, size, split)
        if length < 1:
            raise UserError(f"length is {length}: a set needs at least 1 clip.")
        self.seed, self.frames, self.split, self.length = seed, frames, split, length
        self.size = (int(size[0]), int(size[1]))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.length:
            raise IndexError(index)
        clip = synthetic_clip(self.seed, index, self.frames, self.size, self.split)
        return {"video": clip.video, "prompt": clip.caption, "index": index}
