"""Video files in constant memory, and the choice between file, folder and pipe."""

import contextlib
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import ColorRange

from lvis.data.colour import BT709, quarter_turns, to_picture, upright_rgb, wide_colours
from lvis.data.complete import check_complete
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
from lvis.data.gamut import described
from lvis.data.pipe import RawReader, RawWriter
from lvis.data.sound import SoundCopy
from lvis.errors import UserError
from lvis.files import check_place, replacing
from lvis.untrusted import MOST_PIXELS, limit_decoder, open_video

DEFAULT_QUALITY = (
    18  # x264's constant rate factor: visually lossless, about 4 times smaller than at 8
)
_HIGHEST_RATE = 1000  # frames per second; what a header says beyond it is a clock's
ENCODERS = {".mp4": "libx264", ".mov": "libx264", ".m4v": "libx264", ".mkv": "ffv1"}


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
    return VideoWriter(path, info.rate, quality, sound_from, info.aspect, info.begins)


def check_output_name(path: str) -> None:
    """Raises UserError when `open_sink` could not write to this name, before any work is done."""
    if path == "-":
        return
    check_place(path, is_file=bool(Path(path).suffix))
    target = Path(path)
    if target.suffix and target.suffix.lower() not in ENCODERS:
        raise UserError(
            f"cannot tell the format of {path}; end it in one of {', '.join(ENCODERS)}, "
            "or in nothing for a folder"
        )
    if not target.suffix:
        check_folder_is_free(target)
    if not target.suffix and target.exists() and not target.is_dir():
        raise UserError(f"{path} is a file; name a folder for PNGs or add a suffix such as .mp4")


class VideoReader:
    """The frames of a file's first video stream, uint8 (H, W, 3) RGB, upright; one frame in memory
    at a time.

    Iterate once. Sound, data and further video streams are passed over. `drift` is how many frames
    the file's own times have strayed so far from an even `info.rate`; `note` says, if there is
    anything to say, how the colours are converted.

    Raises:
        UserError: not a video, no video stream, cut short, a frame that cannot be decoded or that has
            more than `most_pixels` (before it is decoded).
    """

    def __init__(self, path: str | Path, most_pixels: int = MOST_PIXELS) -> None:
        self.path = Path(path)
        self.drift = 0.0
        self.note = ""
        self._sideways = False
        self._began: float | None = None
        try:
            self._container = open_video(path, most_pixels)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise UserError(
                f"{path} is not a readable video ({reason_of(error)}); check the file"
            ) from error
        try:
            streams = self._container.streams.video
            if not streams:
                raise UserError(f"{path} has no video stream; give a file that contains video")
            self._stream = main_stream(self._container)
            self._stream.thread_type = "AUTO"
            limit_decoder(path, self._stream, most_pixels)
            check_complete(self.path, self._stream)
            self._rate = rate_of(self._container, self._stream)
            self._frames = self._decode()
            self._first = next(self._frames, None)
            if self._first is None:
                raise UserError(f"{path} has no frames; check the file")
        except BaseException:
            self._container.close()
            raise
        height, width = self._first.shape[:2]
        aspect = Fraction(self._stream.sample_aspect_ratio or 1)
        if self._sideways:
            aspect = 1 / aspect
        self.info = VideoInfo(height, width, self._rate, self._count(), aspect, self._began)

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
                self._sideways = quarter_turns(frame) % 2 == 1
                self._follow(frame, position)
                if not position and (wide := wide_colours(frame)):
                    self.note = described(wide)
                yield upright_rgb(frame)
                position += 1
        except av.FFmpegError as error:
            raise UserError(
                f"{self.path} is broken at frame {position} ({reason_of(error)}); "
                "repair it or cut it there"
            ) from error

    def _follow(self, frame: av.VideoFrame, position: int) -> None:
        seconds = self._seconds(frame)
        if seconds is None:
            return
        if self._began is None:
            self._began = seconds
        self.drift = max(self.drift, abs((seconds - self._began) * float(self._rate) - position))

    def _seconds(self, frame: av.VideoFrame) -> float | None:
        if self._container.format.name == "avi" and frame.dts is not None and frame.time_base:
            # AVI keeps decoding times alone; what FFmpeg makes of them in pts goes back and forth
            return float(frame.dts * frame.time_base)
        return frame.time

    def _count(self) -> int | None:
        if self._stream.frames:
            return self._stream.frames
        if self._container.duration:
            return max(1, round(self._container.duration * self._rate / av.time_base))
        return None


class VideoWriter:
    """Frames into a video file that appears, complete and with its sound, when the context ends
    without an error.

    H.264 with the constant rate factor `quality` (0 best, 51 worst) in 4:2:0, or 4:4:4 where a side
    is odd; .mkv is lossless FFV1. Colours are BT.709 and tagged so. `sound_from` is the file whose
    sound is carried (see `SoundCopy`); `sound_refused` then lists the codecs that were left out, and
    `sound_notes` says what else happened to it. `sound_begins` is the time in that file, in seconds,
    at which the first frame is shown; None: where its pictures begin.

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
        sound_begins: float | None = None,
    ) -> None:
        self.path = Path(path)
        self.rate, self.quality, self.aspect = rate, quality, aspect
        self.sound_refused: list[str] = []
        self.sound_notes: list[str] = []
        self._sound_from, self._sound_begins = sound_from, sound_begins
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
        self._container = av.open(f"file:{partial}", "w")
        self._stream = add_video_stream(
            self._container, codec, self.rate, (height, width), self.quality
        )
        context = self._stream.codec_context
        context.sample_aspect_ratio = self.aspect
        context.color_primaries = context.color_trc = BT709
        if self._sound_from is not None:
            self._sound = SoundCopy(self._sound_from, self._container, self._sound_begins)
            self.sound_refused = self._sound.refused
            self.sound_notes = self._sound.notes

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


def main_stream(container: av.container.InputContainer) -> av.VideoStream:
    """The video stream that a player shows: the default one, and no cover picture."""
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ] or list(container.streams.video)
    return next((s for s in streams if s.disposition & Disposition.default), streams[0])


def rate_of(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction:
    """Frames per second: the mean that the container shows, where it keeps times and can be right.

    Elementary streams have no times: theirs is in the pictures' own coding. DV's mean is that of its
    clock (60,000 per second).
    """
    rates = [stream.average_rate, stream.guessed_rate]
    if stream.start_time is None:
        rates.reverse()
    return next((Fraction(r) for r in rates if r and 0 < r <= _HIGHEST_RATE), DEFAULT_RATE)


def reason_of(error: BaseException) -> str:
    """What FFmpeg or the system says, in lower case."""
    strerror = getattr(error, "strerror", None)
    return (strerror or str(error) or type(error).__name__).lower()
