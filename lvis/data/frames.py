"""Frames as arrays, folders of frames, and what every video source and sink has in common."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from lvis.data.numbering import oddities, ordered, passed_over
from lvis.data.timing import DEFAULT_RATE, FrameTimes
from lvis.errors import UserError
from lvis.untrusted import MOST_PIXELS, open_image

LOSSY_SUFFIXES = (".jpg", ".jpeg", ".webp")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before its frames are read.

    `height`, `width` in pixels as displayed, `rate` in frames per second, `count` the number of
    frames as far as the container tells (None if it does not: a pipe), `aspect` the width of a
    pixel over its height, `begins` the seconds of its file's clock at which the first frame is shown,
    `times` those of every frame where its rate varies (`rate` is then the mean), which fill as frames
    are read, `lossy` whether compression has changed the frames.
    """

    height: int
    width: int
    rate: Fraction
    count: int | None = None
    aspect: Fraction = Fraction(1)
    begins: float | None = None
    times: FrameTimes | None = None
    lossy: bool = False


class FrameSource(Protocol):
    """Frames, uint8 (H, W, 3) RGB, one at a time; a context manager that closes its source."""

    info: VideoInfo
    notes: list[str]  # sentences for the user, more of them as frames are read

    def __iter__(self) -> Iterator[np.ndarray]: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...


class FrameSink(Protocol):
    """Takes frames, uint8 (H, W, 3) RGB; the output appears when the context ends well."""

    notes: list[str]  # sentences for the user, from the first frame on

    def write(self, frame: np.ndarray) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def to_video(
    frames: list[np.ndarray] | np.ndarray, device: torch.device | None = None
) -> torch.Tensor:
    """uint8 (T, H, W, 3) -> float32 (1, 3, T, H, W) in [-1, 1]."""
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(list(frames))))
    if device is not None:
        stacked = stacked.to(device)
    return stacked.permute(3, 0, 1, 2)[None].float() / 127.5 - 1


def to_frames(video: torch.Tensor) -> np.ndarray:
    """float (1, 3, T, H, W) in [-1, 1], clipped -> uint8 (T, H, W, 3)."""
    levels = ((video[0].detach().float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(1, 2, 3, 0).contiguous().cpu().numpy()


def read_image(path: str | Path, most_pixels: int = MOST_PIXELS) -> np.ndarray:
    """An image file as uint8 (H, W, 3) RGB, turned upright as its EXIF tag says.

    Raises:
        UserError: missing, not a readable image, or of more pixels (before any is decoded).
    """
    from PIL import ImageOps

    with open_image(path, most_pixels) as image:
        return as_rgb(ImageOps.exif_transpose(image))


def as_rgb(image: Image.Image) -> np.ndarray:
    """An image of any mode as uint8 (H, W, 3) RGB; the whole of a 16-bit grey scale counts.

    Raises:
        ValueError: numbers without a known white: floating point, or whole ones above 16 bits.
    """
    if image.mode != "F" and not image.mode.startswith("I"):
        return np.asarray(image.convert("RGB"))
    levels = np.asarray(image)
    if image.mode == "F" or levels.min() < 0 or levels.max() > 65535:
        raise ValueError("its white is not known: save it with 8 or 16 bits")
    # Pillow's own conversion clips 16 bits at 255
    grey = (levels / 257).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def hides_something(image: Image.Image) -> bool:
    """Whether an image has pixels that are not opaque."""
    if not image.has_transparency_data:
        return False
    return np.asarray(image.convert("RGBA"))[..., 3].min() < 255


def image_names(folder: Path) -> list[str]:
    """The images of a folder in natural order.

    Raises:
        UserError: there are none.
    """
    names = (path.name for path in folder.iterdir())
    shown = [n for n in names if n.lower().endswith(IMAGE_SUFFIXES) and not n.startswith(".")]
    if not shown:
        raise UserError(
            f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)}); give a folder of frames"
        )
    return ordered(shown)


class FolderReader:
    """The images of a folder in the order of their numbers; hidden files and other suffixes are skipped.

    Every header is read beforehand. `notes` says in sentences what is odd about the folder and what is
    done: gaps, doubled and negative numbers, other files, several pages, alpha.

    Raises:
        UserError: no images, an unreadable one, one of more than `most_pixels`, or sizes that differ.
    """

    def __init__(
        self,
        folder: str | Path,
        rate: Fraction | None = None,
        most_pixels: int = MOST_PIXELS,
    ) -> None:
        self.folder, self.most_pixels = Path(folder), most_pixels
        self._has_alpha = False
        self.names = image_names(self.folder)
        self.notes = [*oddities(self.names), *passed_over(self.folder, self.names)]
        self._check_pages()
        height, width = self._read(self.names[0]).shape[:2]
        lossy = any(Path(name).suffix.lower() in LOSSY_SUFFIXES for name in self.names)
        self.info = VideoInfo(height, width, rate or DEFAULT_RATE, len(self.names), lossy=lossy)

    def __iter__(self) -> Iterator[np.ndarray]:
        for name in self.names:
            frame = self._read(name)
            check_frame_size(frame, self.info, str(self.folder / name))
            yield frame

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def _check_pages(self) -> None:
        for name in self.names:
            with open_image(self.folder / name, self.most_pixels) as image:
                pages = getattr(image, "n_frames", 1)
                # a phone's JPEG has a preview as its second page
                if pages > 1 and image.format != "MPO":
                    self.notes.append(f"{name} holds {pages} pictures: the first one is its frame")

    def _read(self, name: str) -> np.ndarray:
        with open_image(self.folder / name, self.most_pixels) as image:
            if not self._has_alpha and hides_something(image):
                self._has_alpha = True
                self.notes.append(
                    "its pictures have an alpha channel, which is ignored: hidden pixels are shown"
                )
        return read_image(self.folder / name, self.most_pixels)


class FolderWriter:
    """Frames as 00000.png, 00001.png, ... in a folder that appears when the last one is written.

    Raises:
        UserError: the folder exists and is not empty, or cannot be written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.notes: list[str] = []
        check_folder_is_free(self.folder)
        self._partial = self.folder.with_name(f".{self.folder.name}.{os.getpid()}.partial")
        self._count = 0

    def write(self, frame: np.ndarray) -> None:
        try:
            self._partial.mkdir(parents=True, exist_ok=True)
            Image.fromarray(frame).save(self._partial / f"{self._count:05d}.png")
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        self._count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        try:
            if kind is None and self._partial.is_dir():
                check_folder_is_free(self.folder)
                if self.folder.is_dir():
                    self.folder.rmdir()
                os.replace(self._partial, self.folder)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)


def check_folder_is_free(folder: Path) -> None:
    """Raises UserError unless `folder` is missing or empty, so that nothing in it is lost."""
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(
            f"the folder {folder} exists and is not empty; empty it or name another output"
        )


def check_frame_size(frame: np.ndarray, info: VideoInfo, name: str) -> None:
    """Raises UserError when a frame has not the size of the first one."""
    height, width = frame.shape[:2]
    if (height, width) != (info.height, info.width):
        raise UserError(
            f"{name} is {width}x{height} and the first frame is {info.width}x{info.height}; "
            "all frames must have one size"
        )


def cannot_write(target: str | Path, error: OSError) -> UserError:
    """The sentence for an output that the system refuses."""
    reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
    return UserError(f"cannot write {target}: {reason}; free some space or choose another place")


def fit_to(frames: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Frames uint8 (T, H, W, 3) scaled to cover `size`, then cut to it about the centre."""
    if size is None or frames.shape[1:3] == size:
        return frames
    height, width = size
    scale = max(height / frames.shape[1], width / frames.shape[2])
    cover = (
        max(height, round(frames.shape[1] * scale)),
        max(width, round(frames.shape[2] * scale)),
    )
    planes = torch.tensor(frames).permute(0, 3, 1, 2).float()
    planes = F.interpolate(planes, size=cover, mode="bicubic", antialias=True, align_corners=False)
    top, left = (cover[0] - height) // 2, (cover[1] - width) // 2
    cut = planes[:, :, top : top + height, left : left + width].round().clamp(0, 255)
    return cut.to(torch.uint8).permute(0, 2, 3, 1).numpy()
