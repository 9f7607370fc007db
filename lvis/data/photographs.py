"""Photographs inside scikit-image's wheel, read without importing it and without a network."""

import importlib.util
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lvis.errors import UserError

# Both views of the motorcycle show one scene, so both belong to the same split.
PHOTOGRAPHS: dict[str, tuple[str, ...]] = {
    "train": (
        "astronaut.png",
        "chelsea.png",
        "motorcycle_left.png",
        "motorcycle_right.png",
        "hubble_deep_field.jpg",
        "ihc.png",
        "camera.png",
        "brick.png",
        "grass.png",
        "coins.png",
        "page.png",
        "text.png",
    ),
    "val": ("coffee.png", "rocket.jpg", "gravel.png"),
}


@lru_cache(maxsize=64)
def photograph(name: str, level: int = 0) -> np.ndarray:
    """One photograph, uint8 RGB (H, W, 3), shrunk by 2**level with an area average; read-only.

    Raises:
        UserError: scikit-image is not installed or its wheel does not hold this photograph.
    """
    if level > 0:
        finer = photograph(name, level - 1)
        height, width = max(finer.shape[0] // 2, 1), max(finer.shape[1] // 2, 1)
        image = cv2.resize(finer, (width, height), interpolation=cv2.INTER_AREA)
    else:
        spec = importlib.util.find_spec("skimage")
        if spec is None or spec.origin is None:
            raise UserError("synthetic clips need photographs of scikit-image: pip install it.")
        path = Path(spec.origin).parent / "data" / name
        try:
            with Image.open(path) as picture:
                image = np.array(picture.convert("RGB"))
        except OSError as error:
            raise UserError(
                f"scikit-image carries no readable {path}: install scikit-image 0.25 or newer."
            ) from error
    image.setflags(write=False)
    return image


def draw_photograph(rng: np.random.Generator, split: str, level: int = 0) -> np.ndarray:
    """A photograph of the split ("train" or "val"), drawn uniformly; uint8 RGB (H, W, 3)."""
    names = PHOTOGRAPHS[split]
    return photograph(names[rng.integers(len(names))], level)


def draw_crop(rng: np.random.Generator, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A crop (h, w, 3) at a uniformly drawn place; an image that is too small is mirrored first."""
    pad_height, pad_width = (max(0, size[a] - image.shape[a]) for a in (0, 1))
    if pad_height or pad_width:
        image = cv2.copyMakeBorder(image, 0, pad_height, 0, pad_width, cv2.BORDER_REFLECT_101)
    top = rng.integers(image.shape[0] - size[0] + 1)
    left = rng.integers(image.shape[1] - size[1] + 1)
    return image[top : top + size[0], left : left + size[1]]
