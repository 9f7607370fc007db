"""Frames into a video file that appears when it is whole: H.264 for .mp4, .mov and .m4v, lossless FFV1 for .mkv."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.video.reformatter import ColorRange

from lvis.data.colour import BT709, to_picture
from lvis.data.frames import cannot_write
from lvis.data.matroska import set_aspect, with_room
from lvis.data.metadata import losses
from lvis.data.timing import FrameTimes
from lvis.data.tracks import TrackCopy
from lvis.errors import UserError, reason_of
from lvis.files import replacing

DEFAULT_QUALITY = (
    18  # x264's constant rate factor: visually lossless, about 4 times smaller than at 8
)
ENCODERS = {".mp4": "libx264", ".mov": "libx264", ".m4v": "libx264", ".mkv": "ffv1"}


class VideoWriter:
    """Frames into a video file that appears, complete and with its sound, when the context ends
    without an error.

    H.264 with the constant rate factor `quality` (1 best, 51 worst) in 4:2:0, which phones play: an
    odd side gets its last row or column twice. `quality` 0 is lossless RGB. .mkv is lossless FFV1.
    Colours are BT.709 and tagged so. `sound_from` is the file whose sound is carried (see
    `TrackCopy`). `notes` says in sentences, from the first frame on, what differs from what was
    asked for. `sound_begins` is the time in that file, in seconds,
    at which the first frame is shown; None: where its pictures begin. `times` are the frames' own
    where the rate varies; None: they are 1 / `rate` apart.

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
        times: FrameTimes | None = None,
    ) -> None:
        self.path = Path(path)
        self.rate, self.quality, self.aspect = rate, quality, aspect
        self.notes: list[str] = []
        self._even_rate = rate if times is None else None
        self._times = times or FrameTimes(rate, 1 / rate)
        self._sound_from, self._sound_begins = sound_from, sound_begins
        self._tracks: TrackCopy | None = None
        self._exits = contextlib.ExitStack()
        self._container: av.container.OutputContainer | None = None
        self._padding: tuple[tuple[int, int], ...] | None = None
        self._partial: Path | None = None
        self._count = 0

    def write(self, frame: np.ndarray) -> None:
        with self._system_errors():
            if self._container is None:
                self._open(*frame.shape[:2])
            assert self._container is not None
            begins, tick = self._times.at(self._count), self._times.tick
            picture = to_picture(self._even(frame), self._stream, begins, tick)
            self._container.mux(self._stream.encode(picture))
            self._count += 1
            if self._tracks is not None:
                self._tracks.until(float(self._times.at(self._count) * tick), self._container)

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
        self._partial = self._exits.enter_context(replacing(self.path))
        codec = ENCODERS[self.path.suffix.lower()]
        if codec == "libx264" and not self.quality:
            codec = "libx264rgb"
            self.notes.append(
                "quality=0 is lossless, H.264 in RGB, which phones and QuickTime do not play; "
                "quality=1 is as good as lossless and plays everywhere"
            )
        elif codec == "libx264" and (height % 2 or width % 2):
            self._padding = ((0, height % 2), (0, width % 2), (0, 0))
            given, (height, width) = f"{width}x{height}", (height + height % 2, width + width % 2)
            self.notes.append(
                f"H.264 that phones play has even sides: {given} becomes {width}x{height}, its last "
                "row or column repeated; .mkv keeps odd sides"
            )
        self._container = av.open(f"file:{self._partial}", "w")
        self._stream = add_video_stream(
            self._container, codec, self.rate, (height, width), self.quality
        )
        context = self._stream.codec_context
        context.sample_aspect_ratio = self.aspect
        context.time_base = self._times.tick
        context.color_primaries = context.color_trc = BT709
        if self._sound_from is not None:
            self._tracks = TrackCopy(
                self._sound_from, self._container, self._sound_begins, self.notes
            )
            self._tracks.describe(self._container, self._stream, self._even_rate)
        if self._sets_aspect:
            self._stream.metadata["title"] = with_room(self._stream.metadata.get("title", ""))

    def _even(self, frame: np.ndarray) -> np.ndarray:
        return frame if self._padding is None else np.pad(frame, self._padding, mode="edge")

    def _finish(self) -> None:
        if self._container is None:
            return
        self._container.mux(self._stream.encode(None))
        if self._tracks is not None:
            self._tracks.until(float("inf"), self._container)
        self._container.close()
        if self._sets_aspect:
            assert self._partial is not None
            set_aspect(self._partial, self.aspect)
        if self._sound_from is not None and self._partial is not None:
            self.notes += losses(Path(self._sound_from), self._partial)

    @property
    def _sets_aspect(self) -> bool:
        return self.path.suffix.lower() == ".mkv" and self.aspect != 1

    def _close(self, error: BaseException | None) -> None:
        """Close everything; without an error the file takes its name, with one it is removed."""
        with contextlib.suppress(av.FFmpegError, OSError):
            if self._container is not None:
                self._container.close()
        if self._tracks is not None:
            self._tracks.close()
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
    """A stream of `codec` for frames of `size` (H, W), tagged as BT.709: "libx264", "libx264rgb" (lossless, with
    `quality` 0) or "ffv1"."""
    stream = container.add_stream(codec, rate=rate)
    assert isinstance(stream, av.VideoStream)
    stream.height, stream.width = size
    if codec == "libx264":
        stream.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
        stream.options = {"crf": str(quality)}
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = ColorRange.MPEG
    elif codec == "libx264rgb":
        stream.pix_fmt = "rgb24"
        stream.options = {"crf": str(quality)}
    else:
        stream.pix_fmt = "bgr0"
        # version 3 has a checksum a slice, by which a decoder notices that a bit has flipped
        stream.options = {"level": "3", "slicecrc": "1"}
    return stream
