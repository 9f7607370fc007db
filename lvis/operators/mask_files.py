"""A user's mask: an image, a folder of images, a video or a tensor, as bool (B, 1, T, H, W)."""

import re
from pathlib import Path

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor

from lvis.errors import UserError
from lvis.untrusted import MOST_HELD, limit_decoder, open_image, open_video

WHITE = ("observed", "missing")

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")

# lossy codecs and soft brushes leave grey along edges; beyond this share the file is no mask (a
# soft matte, a photograph)
GREY_SHARE = 0.02
GREY_RANGE = (0.25, 0.75)


def load_mask(path: str | Path, white: str = "observed") -> Tensor:
    """Read a mask, True where x is observed.

    Args:
        path: an image (one mask for all frames), a folder of images (m2 before m10) or a video
            (one per frame).
        white: what white (0.5 and above) means, "observed" or "missing".

    Returns:
        bool (1, 1, T, H, W).

    Raises:
        UserError: nothing there, unreadable, images of different sizes, or too grey to be a mask.
    """
    source = Path(path)
    if source.is_dir():
        frames = [read_mask_image(name) for name in mask_images(source)]
    elif not source.is_file():
        raise UserError(
            f"the mask {path} does not exist: give an image, a folder of images or a video"
        )
    elif source.suffix.lower() in IMAGES:
        frames = [read_mask_image(source)]
    else:
        frames = _read_video(source)
    sizes = {frame.shape for frame in frames}
    if len(sizes) > 1:
        shown = ", ".join(sorted(f"{width}x{height}" for height, width in sizes))
        raise UserError(f"the images in the mask folder {path} have different sizes: {shown}")
    stacked = np.stack(frames)
    level = torch.from_numpy(stacked).float() / white_level(stacked.max())
    is_white = threshold(level, f"the mask {path}")[None, None]
    observed = is_white if white == "observed" else ~is_white
    if not observed.any():
        raise UserError(
            f"the mask {path} observes no pixel (white means {white}); give another, or tell what "
            "its white means by the key white of the operator"
        )
    return observed


def mask_images(folder: Path) -> list[Path]:
    """The images of a folder in the order in which people number them.

    Raises:
        UserError: there are none.
    """
    names = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in IMAGES and not file.name.startswith(".")
    ]
    if not names:
        raise UserError(f"the mask folder {folder} has no images ({', '.join(IMAGES)})")
    return sorted(names, key=_natural)


def read_mask_image(path: Path) -> np.ndarray:
    """An image's levels, uint8 (H, W), upright as its EXIF tag says.

    A colour is as white as its brightest channel; where the picture is in the alpha channel alone,
    that one counts.

    Raises:
        UserError: it is not a readable image.
    """
    with open_image(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I") or upright.mode == "F":
            levels = np.asarray(upright)
            top = 65535 if levels.max() > 255 else 255
            return (levels.clip(0, top) * (255 / top)).round().astype(np.uint8)
        rgba = np.asarray(upright.convert("RGBA"))
    colour, alpha = rgba[..., :3], rgba[..., 3]
    if alpha.min() < alpha.max() and (colour == colour[0, 0]).all():
        return alpha
    return brightest(colour)


def brightest(colour: np.ndarray) -> np.ndarray:
    """uint8 (..., 3) RGB -> uint8 (...): red on black is as white as white on black."""
    return colour.max(axis=-1)


def white_level(highest: int) -> int:
    """The level that is white, by the highest one in a whole mask: 1 in masks of zeros and ones, else 255."""
    return 1 if highest == 1 else 255


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def binarise(mask: Tensor) -> Tensor:
    """A mask tensor with 1 where observed, (H, W), (T, H, W) or (B, 1, T, H, W), as bool (B, 1, T,
    H, W).

    Raises:
        UserError: another number of dimensions, or values that are neither 0 nor 1.
    """
    shape = tuple(mask.shape)
    if mask.ndim in (2, 3):
        mask = mask.reshape(1, 1, -1, *shape[-2:])
    if mask.ndim != 5 or mask.shape[1] != 1:
        raise UserError(
            f"a mask tensor has shape {shape}: give (H, W), (T, H, W) or (B, 1, T, H, W)"
        )
    if mask.dtype == torch.bool:
        return mask
    if mask.numel() and (mask.min() < 0 or mask.max() > 1):
        raise UserError(
            f"a mask tensor has values in [{mask.min():g}, {mask.max():g}]: give 1 where "
            f"observed, 0 where missing"
        )
    return threshold(mask.float(), "a mask tensor")


def threshold(level: Tensor, name: str) -> Tensor:
    """Grey values in [0, 1] of any shape as bool, True where white.

    Raises:
        UserError: too many are neither black nor white; `name` says whose they are.
    """
    grey = ((level > GREY_RANGE[0]) & (level < GREY_RANGE[1])).float().mean().item()
    if grey > GREY_SHARE:
        raise UserError(
            f"{name} is not black and white: {grey:.0%} of its values are grey "
            f"(between {GREY_RANGE[0]} and {GREY_RANGE[1]} of white); threshold it first"
        )
    return level >= 0.5


def _read_video(path: Path) -> list[np.ndarray]:
    import av

    try:
        with open_video(path) as container:
            limit_decoder(path, container.streams.video[0])
            frames: list[np.ndarray] = []
            for frame in container.decode(video=0):
                frames.append(brightest(frame.to_ndarray(format="rgb24")))
                if len(frames) * frames[0].nbytes > MOST_HELD:
                    raise UserError(
                        f"the mask {path} has more than {len(frames) - 1} frames; cut it"
                    )
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise UserError(f"the mask {path} cannot be read as a video: {error}") from error
    if not frames:
        raise UserError(f"the mask {path} has no frames")
    return frames
