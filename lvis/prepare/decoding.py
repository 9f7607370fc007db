"""Frames of a source with their times, converted only when they are asked for, within limits that bombs exceed."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.video.reformatter import Interpolation
from PIL import Image

from lvis.data.colour import upright_rgb
from lvis.data.complete import check_complete
from lvis.data.frames import DEFAULT_RATE, image_names, read_image
from lvis.errors import UserError, reason_of
from lvis.untrusted import check_size, limit_decoder, open_image, open_video

THUMBNAIL = (36, 64)  # height, width
_HIGHEST_RATE = 1000  # frames per second beyond which a header's frame count is absurd


@dataclass(frozen=True)
class Limits:
    """What a source may have: pixels per frame, seconds."""

    max_pixels: int
    max_seconds: float

    def check(self, path: Path, height: int, width: int, seconds: float) -> None:
        """Raises UserError when a header says more than is allowed."""
        check_size(path, height, width, self.max_pixels)
        if seconds > self.max_seconds:
            raise UserError(
                f"{path} says it lasts {seconds:.0f} s, above max_seconds={self.max_seconds:.0f}; "
                "raise max_seconds if that is true"
            )


class Picture(Protocol):
    """One frame: when it is shown, and its pixels on demand."""

    @property
    def seconds(self) -> float: ...
    def rgb(self) -> np.ndarray: ...
    def thumbnail(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Decoded:
    """A frame of a video file."""

    seconds: float
    frame: av.VideoFrame

    def rgb(self) -> np.ndarray:
        """uint8 (H, W, 3)."""
        return upright_rgb(self.frame)

    def thumbnail(self) -> np.ndarray:
        """uint8 (36, 64, 3)."""
        height, width = THUMBNAIL
        return self.frame.to_ndarray(
            format="rgb24", height=height, width=width, interpolation=Interpolation.AREA
        )


@dataclass(frozen=True)
class ImageFile:
    """A frame of a folder of images."""

    seconds: float
    path: Path
    most_pixels: int

    def rgb(self) -> np.ndarray:
        """uint8 (H, W, 3)."""
        return read_image(self.path, self.most_pixels)

    def thumbnail(self) -> np.ndarray:
        """uint8 (36, 64, 3)."""
        height, width = THUMBNAIL
        image = Image.fromarray(self.rgb()).resize((width, height), Image.Resampling.BOX)
        return np.asarray(image)


class Pictures:
    """The frames of a video file or of a folder of images, in the order of their times; iterate once.

    `rate` is in frames per second, `aspect` the width of a pixel over its height. A folder's frames are
    `folder_rate` apart.

    Raises:
        UserError: missing, unreadable, cut short, beyond `limits` (before anything is decoded), of
            changing size.
    """

    def __init__(self, path: Path, limits: Limits, folder_rate: Fraction = DEFAULT_RATE) -> None:
        self.path, self.limits = path, limits
        self.rate, self.aspect = folder_rate, Fraction(1)
        self._container: av.container.InputContainer | None = None
        if not path.exists():
            raise UserError(f"{path} does not exist")
        if path.is_dir():
            self._frames: Iterator[Picture] = self._of_folder(_checked_images(path, limits))
            return
        try:
            self._container = open_video(path, limits.max_pixels)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise UserError(f"{path} is not a readable video ({reason_of(error)})") from error
        try:
            self._frames = self._of_file(self._container)
        except BaseException:
            self._container.close()
            raise

    def __iter__(self) -> Iterator[Picture]:
        return self._frames

    def __enter__(self) -> "Pictures":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._container is not None:
            self._container.close()

    def _of_folder(self, paths: list[Path]) -> Iterator[Picture]:
        for number, path in enumerate(paths):
            yield ImageFile(float(number / self.rate), path, self.limits.max_pixels)

    def _of_file(self, container: av.container.InputContainer) -> Iterator[Picture]:
        if not container.streams.video:
            raise UserError(f"{self.path} has no video stream")
        stream = container.streams.video[0]
        context = stream.codec_context
        self.rate = Fraction(stream.average_rate or stream.guessed_rate or DEFAULT_RATE)
        self.aspect = Fraction(stream.sample_aspect_ratio or 1)
        if not 0 < self.rate <= _HIGHEST_RATE:
            raise UserError(f"{self.path} says it has {float(self.rate):.0f} frames per second")
        lengths = [float(stream.frames / self.rate)]
        if stream.duration and stream.time_base:
            lengths.append(float(stream.duration * stream.time_base))
        elif container.duration:
            lengths.append(container.duration / av.time_base)
        self.limits.check(self.path, context.height, context.width, max(lengths))
        check_complete(self.path, stream)
        limit_decoder(self.path, stream, self.limits.max_pixels)
        # one process per source: more threads would only wait for one another
        context.thread_count = 1
        return self._decode(container, stream)

    def _decode(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[Picture]:
        last, number = -float("inf"), 0
        first: float | None = None
        size: tuple[int, int] | None = None
        try:
            for frame in container.decode(stream):
                seconds = number / float(self.rate) if frame.time is None else frame.time
                number += 1
                if seconds <= last:
                    continue
                first = seconds if first is None else first
                if seconds - first > self.limits.max_seconds:
                    raise UserError(
                        f"{self.path} lasts longer than its header says and than "
                        f"max_seconds={self.limits.max_seconds:.0f}"
                    )
                size = size or (frame.height, frame.width)
                if size != (frame.height, frame.width):
                    raise UserError(f"{self.path} changes its size at {seconds:.2f} s")
                last = seconds
                yield Decoded(seconds, frame)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise UserError(
                f"{self.path} is broken at frame {number} ({reason_of(error)})"
            ) from error


def _checked_images(folder: Path, limits: Limits) -> list[Path]:
    # sizes are read from the headers: a bomb is never decompressed
    paths, first = [folder / name for name in image_names(folder)], None
    for path in paths:
        with open_image(path, limits.max_pixels) as image:
            size = image.size
        first = first or size
        if size != first:
            raise UserError(f"{path} is {size[0]}x{size[1]}, the first is {first[0]}x{first[1]}")
    return paths
