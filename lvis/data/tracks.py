"""Sound and subtitles from one container to another: copied packet by packet, or encoded anew where they cannot be."""

import errno
import io
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Protocol

import av
from av.container import InputContainer, OutputContainer
from av.stream import Disposition
from av.subtitles.stream import SubtitleStream

from lvis.data.metadata import carry, main_stream
from lvis.data.sound import SoundEncoder
from lvis.data.subtitles import TEXT, SubtitleEncoder
from lvis.data.timing import packets_of
from lvis.errors import UserError, reason_of
from lvis.untrusted import open_video

_OVERLAP = Fraction(1, 20)  # seconds by which a packet may come before the one before
_NUDGE = Fraction(
    1, 10_000
)  # seconds; writers refuse equal times, in units coarser than the source's
_TRIED = 200  # packets per stream: headers and trailers fail on the codec, not on the length
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Encoder(Protocol):
    """Turns a stream's packets into those of another codec, which `stream` takes."""

    @property
    def stream(self) -> av.stream.Stream: ...
    def encode(self, packet: av.Packet) -> Iterator[av.Packet]: ...
    def finish(self) -> Iterator[av.Packet]: ...


class TrackCopy:
    """Sound and subtitles of `source`, muxed into `output` in step with the frames that are written there.

    Give it the source before the output's header is written (adding its first frame): streams are
    added then. Each stream's whole chain, header to trailer, is tried in memory first. What the
    container does not take is encoded: sound as AAC (.mp4, .mov, .m4v) or FLAC (.mkv), text as
    mov_text or SubRip. What cannot be decoded either is left out. Languages, titles and the default
    tracks are kept. `notes`, a list that may be given, says so in sentences, and what failed later.
    Times are relative to `begins`, the seconds at which the first frame is shown, which in a
    recording that was cut is later than its first packet; what ends before is left out. A clock that
    jumps is joined as that of the pictures is (`Clock`). No failure of a track raises, except of the
    place that is written to.
    """

    def __init__(
        self,
        source: str | Path,
        output: OutputContainer,
        begins: float | None = None,
        notes: list[str] | None = None,
    ) -> None:
        self._path = Path(source)
        self._source = open_video(source)
        self._start = _start(self._source) if begins is None else begins
        self._copies: dict[int, av.stream.Stream] = {}
        self._encoders: dict[int, Encoder] = {}
        self._last: dict[int, int] = {}
        self.notes = [] if notes is None else notes
        for stream in (*self._source.streams.audio, *self._source.streams.subtitles):
            self._add(stream, output)
        self._packets = self._read()
        self._waiting = next(self._packets, None)

    def until(self, seconds: float, output: OutputContainer) -> None:
        """Mux what starts before `seconds` of the video; infinity: all that is left."""
        while self._waiting is not None and self._waiting[0] < seconds:
            _, packet = self._waiting
            self._waiting = next(self._packets, None)
            self._pass_on(packet, output)
        if self._waiting is None and seconds == float("inf"):
            for index in list(self._encoders):
                self._guarded(index, lambda index=index: self._encoders[index].finish(), output)

    def describe(
        self, output: OutputContainer, stream: av.VideoStream, even_rate: Fraction | None
    ) -> None:
        """Give the pictures' stream and its container what the source says of itself (see `carry`)."""
        video = main_stream(self._source)
        carry(self._source, video, output, stream, self._start, even_rate)

    def close(self) -> None:
        self._source.close()

    def _add(self, stream: av.stream.Stream, output: OutputContainer) -> None:
        name = stream.codec_context.name if stream.codec_context else "an unknown codec"
        muxer = output.format.name
        kind = "sound" if stream.type == "audio" else "subtitles"
        codec = encoding_for(stream, muxer)
        if stream.codec_context is not None and _works(self._path, stream.index, muxer, None):
            added = self._copies[stream.index] = output.add_stream_from_template(stream)
        elif codec is not None and _works(self._path, stream.index, muxer, codec):
            encoder = self._encoders[stream.index] = encoder_of(stream, output, codec)
            added = encoder.stream
            self.notes.append(
                f"this container does not take {kind} as {name}; they are converted to {codec}"
                if kind == "subtitles"
                else f"this container does not take the sound's codec {name}; it is encoded as {codec.upper()}"
            )
        else:
            self.notes.append(
                f"this container does not take {kind} as {name}, and a conversion is not possible; "
                "that track is left out"
            )
            return
        name_track(stream, added)

    def _pass_on(self, packet: av.Packet, output: OutputContainer) -> None:
        index = packet.stream.index
        if index in self._encoders:
            self._guarded(index, lambda: self._encoders[index].encode(packet), output)
        elif index in self._copies:
            last = self._last.get(index)
            assert packet.dts is not None and packet.time_base is not None
            if last is not None and packet.dts < last - _OVERLAP / packet.time_base:
                return  # the end of one recording is longer than that of its pictures
            if last is not None and packet.dts <= last:
                packet.dts = last + ceil(_NUDGE / packet.time_base)
                packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
            self._last[index] = packet.dts or 0
            packet.stream = self._copies[index]
            self._guarded(index, lambda: [packet], output)

    def _guarded(self, index: int, packets, output: OutputContainer) -> None:  # noqa: ANN001
        try:
            for packet in packets():
                output.mux(packet)
        except av.InvalidDataError:
            note = f"packets of a track of {self._path} are broken, and left out"
            if note not in self.notes:
                self.notes.append(note)
        except (av.FFmpegError, OSError, ValueError) as error:
            if getattr(error, "errno", None) in _NO_ROOM:
                raise
            self._copies.pop(index, None)
            self._encoders.pop(index, None)
            self.notes.append(f"a track of {self._path} ends early ({reason_of(error)})")

    def _read(self) -> Iterator[tuple[float, av.Packet]]:
        """Packets with their time in seconds after the video's start, which becomes their zero."""
        wanted = [self._source.streams[index] for index in (*self._copies, *self._encoders)]
        if not wanted:
            return
        try:
            for packet in packets_of(self._source, wanted):
                if packet.dts is None or packet.time_base is None or not packet.size:
                    continue
                shift = round(self._start / packet.time_base)
                packet.dts -= shift
                if packet.pts is not None:
                    packet.pts -= shift
                if packet.dts + (packet.duration or 0) <= 0 < packet.dts + shift:
                    continue
                yield float(packet.dts * packet.time_base), packet
        except (av.FFmpegError, OSError, ValueError) as error:
            self.notes.append(f"a track of {self._path} ends early ({reason_of(error)})")


def encoding_for(stream: av.stream.Stream, muxer: str) -> str | None:
    """The codec to which a stream is converted where this container does not take its own; None: there is none."""
    is_matroska = "matroska" in muxer
    if stream.codec_context is None:
        return None
    if stream.type == "audio":
        return "flac" if is_matroska else "aac"
    if stream.codec_context.name in TEXT:
        return "subrip" if is_matroska else "mov_text"
    return None


def encoder_of(stream: av.stream.Stream, output: OutputContainer, codec: str) -> Encoder:
    if isinstance(stream, av.AudioStream):
        return SoundEncoder(stream, output, codec)
    assert isinstance(stream, SubtitleStream)
    return SubtitleEncoder(stream, output, codec)


def name_track(old: av.stream.Stream, new: av.stream.Stream) -> None:
    """Give a track the language, the title and the place among its like of the one that it is made of."""
    if language := old.metadata.get("language"):
        new.metadata["language"] = language
    # QuickTime calls it a name
    if title := old.metadata.get("title") or old.metadata.get("name"):
        new.metadata["title"] = title
    new.disposition = Disposition(old.disposition)


def _works(path: Path, index: int, muxer: str, codec: str | None) -> bool:
    """Whether the first packets of a stream, copied or encoded, make a whole file in memory."""
    try:
        with (
            open_video(path) as source,
            av.open(io.BytesIO(), "w", format=_muxer(muxer)) as trial,
        ):
            stream = source.streams[index]
            encoder = encoder_of(stream, trial, codec) if codec else None
            copy = None if encoder else trial.add_stream_from_template(stream)
            packets = (packet for packet in source.demux(stream) if packet.size)
            last: int | None = None
            tried = worked = 0
            for packet in islice(packets, _TRIED if stream.type == "audio" else 1):
                if packet.dts is None:
                    continue
                with suppress(av.InvalidDataError):  # this one alone, if others work
                    if encoder is not None:
                        trial.mux(list(encoder.encode(packet)))
                    elif copy is not None and (last is None or packet.dts > last):
                        last = packet.dts
                        packet.stream = copy
                        trial.mux(packet)
                    worked += 1
                tried += 1
            if tried and not worked:
                return False
            if encoder is not None:
                trial.mux(list(encoder.finish()))
            trial.start_encoding()
    except (av.FFmpegError, OSError, ValueError, UserError):
        return False
    return True


def _muxer(names: str) -> str:
    return names.split(",", maxsplit=1)[0]


def _start(container: InputContainer) -> float:
    """Seconds at which the first video stream begins."""
    video = next(iter(container.streams.video), None)
    if video is None or video.start_time is None or video.time_base is None:
        return 0.0
    return float(video.start_time * video.time_base)
