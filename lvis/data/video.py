"""Video files in constant memory, and the choice between file, folder and pipe."""

import contextlib
import os
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from lvis.data.frames import (
    DEFAULT_RATE,
    FolderReader,
    FolderWriter,
    FrameSink,
    FrameSource,
    VideoInfo,
    cannot_write,
    check_folder_is_free,
    check_frame_size,
)
from lvis.data.pipe import RawReader, RawWriter
from lvis.data.sound import SoundCopy
from lvis.errors import UserError
from lvis.files import replacing
from lvis.untrusted import MOST_PIXELS, limit_decoder, open_video

DEFAULT_QUALITY = (
    18  # x264's constant rate factor: visually lossless, about 4 times smaller than at 8
)
ENCODERS = {".mp4": "libx264", ".mov": "libx264", ".m4v": "libx264", ".mkv": "ffv1"}

_PRECISE = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
# ITU-T H.273 matrix coefficients -> swscale's constants; 6 (SMPTE 170M) is the matrix of BT.601
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
BT709 = 1  # its number in each of the three tables of H.273
_HD_HEIGHT = 720  # untagged video is BT.709 from here on and BT.601 below, as players assume


def open_source(
    path: str,
    raw_size: tuple[int, int] | None = None,
    rate: Fraction | None = None,
    most_pixels: int = MOST_PIXELS,
) -> FrameSource:
    """A video file, a folder of images, or with `-` raw rgb24 frames on standard input.

    `rate` (frames a second) is for sources that carry none: folders and pipes. `most_pixels` is the
    most that a frame of a file may have.

    Raises:
        UserError: missing, empty, unreadable, no video, or beyond `most_pixels`.
    """
    if path == "-":
        return RawReader(raw_size, rate)
    if not Path(path).exists():
        raise UserError(
            f"{path} does not exist; give a video file, a folder of frames, or - for standard input"
        )
    if Path(path).is_dir():
        return FolderReader(path, rate, most_pixels)
    return VideoReader(path, most_pixels)


def open_sink(
    path: str,
    info: VideoInfo,
    quality: int = DEFAULT_QUALITY,
    sound_from: str | None = None,
) -> FrameSink:
    """A video file (.mp4 .mov .m4v: H.264; .mkv: lossless FFV1), a folder of PNGs (no suffix), or
    `-`: raw rgb24.

    `info` gives the frame rate and the pixel aspect; the size is that of the first frame.

    Raises:
        UserError: a suffix that is none of these, a folder that is not empty.
    """
    check_output_name(path)
    if path == "-":
        return RawWriter()
    if not Path(path).suffix:
        return FolderWriter(path)
    return VideoWriter(path, info.rate, quality, sound_from, info.aspect)


def check_output_name(path: str) -> None:
    """Raises UserError when `open_sink` could not write to this name, before any work is done."""
    if path == "-":
        return
    target = Path(path)
    place = next(folder for folder in target.absolute().parents if folder.exists())
    if not place.is_dir():
        raise UserError(f"cannot write {path}: {place} is not a folder; choose another place")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {path}: {place} is read-only; choose another place")
    if target.suffix and target.suffix.lower() not in ENCODERS:
        raise UserError(
            f"cannot tell the format of {path}; end it in one of {', '.join(ENCODERS)}, "
            "or in nothing for a folder"
        )
    if target.suffix and target.is_dir():
        raise UserError(f"{path} is a folder; name a video file")
    if not target.suffix:
        check_folder_is_free(target)
    if not target.suffix and target.is_file():
        raise UserError(f"{path} is a file; name a folder for PNGs or add a suffix such as .mp4")


class VideoReader:
    """The frames of a file's first video stream, uint8 (H, W, 3) RGB, upright; one frame in memory
    at a time.

    Iterate once. Sound, data and further video streams are passed over.

    Raises:
        UserError: not a video, no video stream, cut short, a frame that cannot be decoded or that has
            more than `most_pixels` (before it is decoded).
    """

    def __init__(self, path: str | Path, most_pixels: int = MOST_PIXELS) -> None:
        self.path = Path(path)
        try:
            self._container = open_video(path, most_pixels)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise UserError(
                f"{path} is not a readable video ({reason_of(error)}); check the file"
            ) from error
        try:
            streams = self._container.streams.video
            if not streams:
                raise UserError(f"{path} has no video stream; give a file with pictures in it")
            self._stream = streams[0]
            self._stream.thread_type = "AUTO"
            limit_decoder(path, self._stream, most_pixels)
            check_complete(self.path, self._stream)
            self._frames = self._decode()
            self._first = next(self._frames, None)
            if self._first is None:
                raise UserError(f"{path} has no frames; check the file")
        except BaseException:
            self._container.close()
            raise
        height, width = self._first.shape[:2]
        rate = self._stream.average_rate or self._stream.guessed_rate or DEFAULT_RATE
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        self.info = VideoInfo(height, width, Fraction(rate), self._count(rate), Fraction(aspect))

    def __iter__(self) -> Iterator[np.ndarray]:
        first, self._first = self._first, None
        if first is not None:
            yield first
        for frame in self._frames:
            check_frame_size(frame, self.info, f"a frame of {self.path}")
            yield frame

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._frames.close()
        self._container.close()

    def _decode(self) -> Generator[np.ndarray, None, None]:
        position = 0
        try:
            for frame in self._container.decode(self._stream):
                yield upright_rgb(frame)
                position += 1
        except av.FFmpegError as error:
            raise UserError(
                f"{self.path} is broken at frame {position} ({reason_of(error)}); "
                "repair it or cut it there"
            ) from error

    def _count(self, rate: Fraction) -> int | None:
        if self._stream.frames:
            return self._stream.frames
        if self._container.duration:
            return max(1, round(self._container.duration * rate / av.time_base))
        return None


class VideoWriter:
    """Frames into a video file that appears, complete and with its sound, when the context ends
    without an error.

    H.264 with the constant rate factor `quality` (0 best, 51 worst) in 4:2:0, or 4:4:4 where a side
    is odd; .mkv is lossless FFV1. Colours are BT.709 and tagged so. `sound_from` is the file whose
    sound is copied; `sound_refused` then lists the codecs that this container cannot carry.

    Raises:
        UserError: the place cannot be written or the disk is full.
    """

    def __init__(
        self,
        path: str | Path,
        rate: Fraction,
        quality: int = DEFAULT_QUALITY,
        sound_from: str | None = None,
        aspect: Fraction = Fraction(1),
    ) -> None:
        self.path = Path(path)
        self.rate, self.quality, self.aspect = rate, quality, aspect
        self.sound_refused: list[str] = []
        self._sound_from = sound_from
        self._sound: SoundCopy | None = None
        self._exits = contextlib.ExitStack()
        self._container: av.container.OutputContainer | None = None
        self._count = 0

    def write(self, frame: np.ndarray) -> None:
        with self._system_errors():
            if self._container is None:
                self._open(*frame.shape[:2])
            assert self._container is not None
            picture = to_picture(frame, self._stream, self._count)
            self._container.mux(self._stream.encode(picture))
            self._count += 1
            if self._sound is not None:
                self._sound.until(float(self._count / self.rate), self._container)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            try:
                with self._system_errors():
                    self._finish()
            except BaseException as late:
                self._close(late)
                raise
        self._close(error)

    def _open(self, height: int, width: int) -> None:
        partial = self._exits.enter_context(replacing(self.path))
        codec = ENCODERS[self.path.suffix.lower()]
        self._container = av.open(str(partial), "w")
        self._stream = add_video_stream(
            self._container, codec, self.rate, (height, width), self.quality
        )
        self._stream.codec_context.sample_aspect_ratio = self.aspect
        if self._sound_from is not None:
            self._sound = SoundCopy(self._sound_from, self._container)
            self.sound_refused = self._sound.refused

    def _finish(self) -> None:
        if self._container is None:
            return
        self._container.mux(self._stream.encode(None))
        if self._sound is not None:
            self._sound.until(float("inf"), self._container)
        self._container.close()

    def _close(self, error: BaseException | None) -> None:
        """Close everything; without an error the file takes its name, with one it is removed."""
        with contextlib.suppress(av.FFmpegError, OSError):
            if self._container is not None:
                self._container.close()
        if self._sound is not None:
            self._sound.close()
        if error is None:
            self._exits.close()
        else:
            # the error is on its way up already
            with contextlib.suppress(UserError):
                self._exits.__exit__(type(error), error, error.__traceback__)

    @contextlib.contextmanager
    def _system_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise cannot_write(self.path, error) from error
        except av.FFmpegError as error:
            raise UserError(f"cannot encode {self.path}: {reason_of(error)}") from error


def check_complete(path: Path, stream: av.VideoStream) -> None:
    """Raises UserError when the container's index (mp4 and mov have one) says that bytes are missing."""
    end = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
    size = path.stat().st_size
    if end > size:
        raise UserError(
            f"{path} is cut short ({size} of at least {end} bytes); copy or download it again"
        )


def add_video_stream(
    container: av.container.OutputContainer,
    codec: str,
    rate: Fraction,
    size: tuple[int, int],
    quality: int = DEFAULT_QUALITY,
) -> av.VideoStream:
    """A stream of `codec` ("libx264" or "ffv1") for frames of `size` (H, W), tagged as BT.709."""
    stream = container.add_stream(codec, rate=rate)
    assert isinstance(stream, av.VideoStream)
    stream.height, stream.width = size
    if codec == "libx264":
        stream.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
        stream.options = {"crf": str(quality)}
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = ColorRange.MPEG
    else:
        stream.pix_fmt = "bgr0"
        # version 3 has a checksum a slice, by which a decoder notices that a bit has flipped
        stream.options = {"level": "3", "slicecrc": "1"}
    return stream


def to_picture(frame: np.ndarray, stream: av.VideoStream, position: int) -> av.VideoFrame:
    """uint8 (H, W, 3) RGB as the frame number `position` of a stream of `add_video_stream`."""
    is_yuv = str(stream.pix_fmt).startswith("yuv")
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
        format=stream.pix_fmt,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG if is_yuv else ColorRange.JPEG,
        interpolation=_PRECISE,
    )
    rate = stream.codec_context.rate
    assert rate is not None
    picture.pts, picture.time_base = position, 1 / Fraction(rate)
    return picture


def upright_rgb(frame: av.VideoFrame) -> np.ndarray:
    """A decoded frame as uint8 (H, W, 3) RGB: its own matrix and range, turned as displayed."""
    untagged = Colorspace.ITU709 if frame.height >= _HD_HEIGHT else Colorspace.ITU601
    full_range = frame.color_range == ColorRange.JPEG or frame.format.is_rgb
    full_range = full_range or frame.format.name.startswith("yuvj")
    pixels = frame.to_ndarray(
        format="rgb24",
        src_colorspace=_MATRICES.get(int(frame.colorspace), untagged),
        src_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=_PRECISE,
    )
    quarter_turns = round(frame.rotation / 90) % 4  # counter-clockwise, as numpy counts
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns)) if quarter_turns else pixels


def reason_of(error: BaseException) -> str:
    """What FFmpeg or the system says, in lower case."""
    strerror = getattr(error, "strerror", None)
    return (strerror or str(error) or type(error).__name__).lower()
