"""Video files in constant memory, and the choice between file, folder and pipe."""

from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
import numpy as np

from lvis.data.colour import hides_something, is_oblique, is_sideways, upright_rgb, wide_colours
from lvis.data.complete import check_complete, signs_of_a_cut
from lvis.data.deinterlace import DONE, LEFT, Deinterlacer
from lvis.data.frames import (
    FolderReader,
    FolderWriter,
    FrameSink,
    FrameSource,
    VideoInfo,
    check_folder_is_free,
    check_frame_size,
)
from lvis.data.gamut import described
from lvis.data.metadata import beside_pictures, main_stream
from lvis.data.pipe import RawReader, RawWriter
from lvis.data.timing import FrameTimes, Survey, packets_of, survey
from lvis.data.video_writer import DEFAULT_QUALITY, ENCODERS, VideoWriter
from lvis.errors import UserError, reason_of
from lvis.files import check_place
from lvis.untrusted import MOST_PIXELS, limit_decoder, open_video


def open_source(
    path: str,
    raw_size: tuple[int, int] | None = None,
    rate: Fraction | None = None,
    most_pixels: int = MOST_PIXELS,
    deinterlace: bool = True,
) -> FrameSource:
    """A video file, a folder of images, or with `-` raw rgb24 frames on standard input.

    `rate` (frames per second) is for sources that carry none: folders and pipes. `most_pixels` is the
    most that a frame of a file may have. `deinterlace` makes interlaced frames of a file progressive.

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
    return VideoReader(path, most_pixels, deinterlace)


def open_sink(
    path: str,
    info: VideoInfo,
    quality: int = DEFAULT_QUALITY,
    sound_from: str | None = None,
) -> FrameSink:
    """A video file (.mp4 .mov .m4v: H.264; .mkv: lossless FFV1), a folder of PNGs (no suffix), or
    `-`: raw rgb24. A file that is there already is replaced at the end.

    `info` gives the frame rate and the pixel aspect; the size is that of the first frame.

    Raises:
        UserError: a suffix that is none of these, a folder that is not empty.
    """
    check_output_name(path)
    if path != "-" and Path(path).suffix:
        return VideoWriter(
            path, info.rate, quality, sound_from, info.aspect, info.begins, info.times
        )
    sink = RawWriter() if path == "-" else FolderWriter(path)
    if info.times is not None:
        kind = "a pipe" if path == "-" else "a folder"
        sink.notes.append(
            f"{kind} keeps no times; played at {float(info.rate):.6g} frames per second, it lasts as "
            "long as the input, but its frames do not come at their times"
        )
    if sound_from is not None:
        sink.notes += beside_pictures(Path(sound_from))
    return sink


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

    Iterate once. With `deinterlace`, interlaced frames are made progressive. Sound, data and further
    video streams are ignored. The file is read once beforehand, without decoding, for its times.
    `notes` says in sentences what is done to the pictures, and that a file has been cut off.

    Raises:
        UserError: not a video, no video stream, cut short, a frame that cannot be decoded or that has
            more than `most_pixels` (before it is decoded).
    """

    def __init__(
        self, path: str | Path, most_pixels: int = MOST_PIXELS, deinterlace: bool = True
    ) -> None:
        self.path = Path(path)
        self._deinterlace, self._interlaced = deinterlace, False
        self.notes: list[str] = []
        self._sideways = False
        self._began: float | None = None
        self._container = self._open(most_pixels)
        try:
            streams = self._container.streams.video
            if not streams:
                raise UserError(f"{path} has no video stream; give a file that contains video")
            self._stream = main_stream(self._container)
            self._stream.thread_type = "AUTO"
            limit_decoder(path, self._stream, most_pixels)
            check_complete(self.path, self._stream)
            self._cut = signs_of_a_cut(self.path, self._container.format.name)
            self.notes += self._cut
            self._survey = self._timed(most_pixels)
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
        self.info = VideoInfo(
            height,
            width,
            self._survey.rate,
            self._survey.count or None,
            aspect,
            self._began,
            self._times,
            self._stream.codec_context.codec.lossy,
        )

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
            for frame in self._progressive():
                self._sideways = is_sideways(frame)
                self._follow(frame)
                if not position and is_oblique(frame):
                    self.notes.append(
                        "it is rotated by an odd angle; it is shown at the nearest quarter turn"
                    )
                if not position and hides_something(frame, self._stream):
                    self.notes.append("its alpha channel is ignored, and hidden pixels are shown")
                if not position and (wide := wide_colours(frame)):
                    self.notes.append(described(wide))
                yield upright_rgb(frame)
                position += 1
            self._check_count(position)
        except av.FFmpegError as error:
            if position and self._cut and not self._goes_on():
                return  # the last frame, of which a part is missing
            raise UserError(
                f"{self.path} is broken at frame {position} ({reason_of(error)}); "
                "repair it or cut it there"
            ) from error

    def _open(self, most_pixels: int) -> av.container.InputContainer:
        try:
            return open_video(self.path, most_pixels)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise UserError(
                f"{self.path} is not a readable video ({reason_of(error)}); check the file"
            ) from error

    def _timed(self, most_pixels: int) -> Survey:
        with self._open(most_pixels) as container:
            found = survey(container, container.streams.video[self._stream_number()])
        self._times = FrameTimes(found.rate, found.tick) if found.varies or found.gaps else None
        if found.varies:
            self.notes.append(
                f"its frame rate varies, {float(found.rate):.6g} frames per second on average: each "
                "frame keeps its own time in a video file"
            )
        elif found.gaps:
            self.notes.append(
                f"frames are missing in it ({found.gaps} in all); the others keep their times in a "
                "video file"
            )
        return found

    def _stream_number(self) -> int:
        return [stream.index for stream in self._container.streams.video].index(self._stream.index)

    def _goes_on(self) -> bool:
        return any(packet.size for packet in self._container.demux(self._stream))

    def _progressive(self) -> Iterator[av.VideoFrame]:
        packets = packets_of(self._container, [self._stream])
        frames = (self._dated(f) for packet in packets for f in self._stream.decode(packet))
        deinterlacer = Deinterlacer()
        for frame in deinterlacer(frames) if self._deinterlace else frames:
            if (deinterlacer.seen or frame.interlaced_frame) and not self._interlaced:
                self._interlaced = True
                self.notes.append(DONE if self._deinterlace else LEFT)
            yield frame

    def _dated(self, frame: av.VideoFrame) -> av.VideoFrame:
        # AVI keeps decoding times alone; what FFmpeg makes of them in pts goes back and forth
        if self._container.format.name == "avi" and frame.dts is not None:
            frame.pts = frame.dts
        return frame

    def _check_count(self, read: int) -> None:
        # other containers' headers count frames that an edit leaves out
        in_header = self._stream.frames if self._container.format.name == "avi" else 0
        promised = max(self._survey.count, in_header)
        if promised - read > max(2, promised // 50):
            self.notes.append(
                f"its header promises {promised} frames, but only {read} could be read"
            )

    def _follow(self, frame: av.VideoFrame) -> None:
        if self._times is not None:
            ticks, tick = frame.pts, frame.time_base
            self._times.add(None if ticks is None or tick is None else ticks * tick)
        if self._began is None:
            known = self._survey.begins
            self._began = frame.time if known is None else known
