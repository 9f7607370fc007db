"""Depth and warps from files, frame by frame."""

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from lvis.data.frames import IMAGE_SUFFIXES
from lvis.data.numbering import natural_key
from lvis.data.video import open_source
from lvis.errors import UserError
from lvis.untrusted import open_image

MEANINGS = ("depth", "inverse")
ARRAYS = (".npy", ".npz")


def depth_frames(
    path: str,
    size: tuple[int, int],
    meaning: str = "depth",
    limits: tuple[float, float] | None = None,
) -> Iterator[np.ndarray]:
    """The depth of a clip's frames, float (H, W) each; one picture or array without time serves all frames.

    Args:
        path: .npy or .npz (T, H, W) or (H, W); an image, a folder of images, a video.
        size: (H, W) of the clip.
        meaning: of the values: "depth", or "inverse" depth, as many networks estimate it.
        limits: the nearest and the farthest depth that a picture's grey scale stands for: nearest is black for
            "depth" and white for "inverse". Pictures of whole numbers need them; arrays and float TIFF are taken
            as they are.

    Raises:
        UserError: missing, unreadable, of another size, a picture without limits, or no depth above 0.
    """
    if meaning not in MEANINGS:
        raise UserError(f"depth_meaning={meaning} is unknown; use one of {', '.join(MEANINGS)}")
    if limits is not None and not 0 < limits[0] < limits[1] < np.inf:
        raise UserError(
            f"depth_range={list(limits)} is not a range; give [NEAR,FAR], 0 < NEAR < FAR"
        )
    if Path(path).suffix.lower() in ARRAYS:
        frames = _in_turn(load_array(path, "depth"), 2)
    else:
        frames = _pictures(path)
    for number, values in enumerate(frames):
        _check_size(values.shape, size, f"the depth {path}")
        depth = _depth(values, path, meaning, limits)
        if not (np.isfinite(depth) & (depth > 0)).any():
            raise UserError(f"the depth {path} has no value above 0 in frame {number}; check it")
        yield depth


def warp_frames(path: str, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """A user's warp, float (H, W, 2) a frame: see `backward_warp`; one without time serves all frames.

    Args:
        path: .npy or .npz (T, H, W, 2) or (H, W, 2).

    Raises:
        UserError: missing, unreadable, no warp, or of another size.
    """
    for positions in _in_turn(load_array(path, "warp"), 3):
        if positions.shape[-1] != 2:
            raise UserError(f"the warp {path} has shape {positions.shape}; give (T, H, W, 2)")
        _check_size(positions.shape[:2], size, f"the warp {path}")
        yield positions


def load_array(path: str, name: str) -> np.ndarray:
    """The numbers in a .npy, or in a .npz the array called `name` or the only one there is.

    Raises:
        UserError: missing, unreadable, or no numbers.
    """
    if not Path(path).is_file():
        raise UserError(f"the {name} {path} does not exist; give a file that does")
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                if name not in loaded.files and len(loaded.files) != 1:
                    held = ", ".join(loaded.files) or "nothing"
                    raise UserError(f"{path} holds {held}; name the array {name} in it")
                loaded = loaded[name if name in loaded.files else loaded.files[0]]
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        # numpy takes whatever it does not know for a pickle, and its advice would be to trust it
        objects = "pickle" in str(error) or "Python objects" in str(error)
        reason = "it holds no plain numbers" if objects else str(error)
        raise UserError(
            f"the {name} {path} cannot be read ({reason}); save it with numpy.save or numpy.savez"
        ) from error
    if loaded.dtype.kind not in "fiu":
        raise UserError(f"the {name} {path} holds {loaded.dtype}; give real numbers")
    return loaded


def _in_turn(array: np.ndarray, dimensions: int) -> Iterator[np.ndarray]:
    if array.ndim == dimensions:
        return repeat(np.asarray(array))
    if array.ndim != dimensions + 1:
        raise UserError(
            f"an array of shape {array.shape} has no frames of {dimensions} dimensions; "
            "give one per frame, time first, or one for all"
        )
    return (np.asarray(frame) for frame in array)


def _pictures(path: str) -> Iterator[np.ndarray]:
    """Levels (H, W): whole-number pictures in [0, 1], float ones as they are."""
    source = Path(path)
    if source.is_dir():
        names = (file for file in source.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        files = sorted(names, key=lambda file: natural_key(file.name))
        if not files:
            raise UserError(f"the depth folder {path} has no images ({', '.join(IMAGE_SUFFIXES)})")
        yield from map(_picture, files)
    elif source.suffix.lower() in IMAGE_SUFFIXES:
        yield from repeat(_picture(source))
    else:
        with open_source(path) as video:
            for frame in video:
                yield frame[..., 1]


def _picture(path: Path) -> np.ndarray:
    with open_image(path) as image:
        # what else there is (palette, colour) is shown as 8 bits of grey
        keeps = image.mode == "F" or image.mode.startswith("I")
        return np.asarray(image if keeps else image.convert("L"))


def _depth(
    values: np.ndarray, path: str, meaning: str, limits: tuple[float, float] | None
) -> np.ndarray:
    is_picture = Path(path).suffix.lower() not in ARRAYS and values.dtype.kind != "f"
    if not is_picture:
        depth = values.astype(np.float64)
        with np.errstate(divide="ignore"):
            return depth if meaning == "depth" else 1 / depth
    if limits is None:
        raise UserError(
            f"the depth {path} is a picture, whose values are not distances; add "
            "depth_range=[NEAR,FAR], the depths that its darkest and brightest stand for"
        )
    level = values / (255.0 if values.dtype == np.uint8 else 65535.0)
    near, far = limits
    if meaning == "depth":
        return near + level * (far - near)
    return 1 / (1 / far + level * (1 / near - 1 / far))


def _check_size(shape: tuple[int, ...], size: tuple[int, int], name: str) -> None:
    if tuple(shape) != size:
        raise UserError(
            f"{name} is {shape[1]}x{shape[0]} and the video is {size[1]}x{size[0]}; "
            "give one of its size"
        )
