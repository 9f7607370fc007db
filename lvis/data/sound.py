"""Sound from one container to another: copied packet by packet, or encoded anew where it cannot be."""

import errno
import io
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
from av.audio.resampler import AudioResampler
from av.container import InputContainer, OutputContainer

from lvis.data.timing import packets_of
from lvis.errors import UserError, reason_of
from lvis.untrusted import open_video

_TRIED = 200  # packets per stream: headers and trailers fail on the codec, not on the length
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
# layouts that a stream of so many unnamed channels most likely has
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


class SoundCopy:
    """The audio streams of `source`, muxed into `output` in step with the frames that are written there.

    Give it the source before the output's header is written (adding its first frame): streams are
    added then. Each stream's whole chain, header to trailer, is tried in memory first. Streams that
    the container does not take are encoded as AAC (.mp4, .mov, .m4v) or FLAC (.mkv); those that
    cannot be decoded either are left out. `notes`, a list that may be given, says so in sentences,
    and what failed later. Times are relative to `begins`, the seconds at which the first frame is
    shown, which in a recording that was cut is later than its first packet; sound that ends before
    is left out. A clock that jumps is joined as that of the pictures is (`Clock`). No
    failure of sound raises, except of the place that is written to.
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
        self._copies: dict[int, av.AudioStream] = {}
        self._encoders: dict[int, _Encoder] = {}
        self._last: dict[int, int] = {}
        self.notes = [] if notes is None else notes
        for number, stream in enumerate(self._source.streams.audio):
            self._add(number, stream, output)
        self._packets = self._read()
        self._waiting = next(self._packets, None)

    def until(self, seconds: float, output: OutputContainer) -> None:
        """Mux the sound that starts before `seconds` of the video; infinity: all that is left."""
        while self._waiting is not None and self._waiting[0] < seconds:
            _, packet = self._waiting
            self._waiting = next(self._packets, None)
            self._pass_on(packet, output)
        if self._waiting is None and seconds == float("inf"):
            for index in list(self._encoders):
                self._guarded(index, lambda index=index: self._encoders[index].finish(), output)

    def close(self) -> None:
        self._source.close()

    def _add(self, number: int, stream: av.AudioStream, output: OutputContainer) -> None:
        name = stream.codec_context.name if stream.codec_context else "an unknown codec"
        container = output.format.name
        codec = "flac" if "matroska" in container else "aac"
        if stream.codec_context is not None and _works(self._path, number, container, None):
            self._copies[stream.index] = output.add_stream_from_template(stream)
        elif stream.codec_context is not None and _works(self._path, number, container, codec):
            self._encoders[stream.index] = _Encoder(stream, output, codec)
            self.notes.append(
                f"this container does not take the sound's codec {name}; "
                f"it is encoded as {codec.upper()}"
            )
        else:
            self.notes.append(
                f"this container does not take the sound's codec {name}, and it cannot be encoded "
                "anew; that sound is left out"
            )

    def _pass_on(self, packet: av.Packet, output: OutputContainer) -> None:
        index = packet.stream.index
        if index in self._encoders:
            self._guarded(index, lambda: self._encoders[index].encode(packet), output)
        elif index in self._copies:
            last = self._last.get(index)
            assert packet.dts is not None
            if last is not None and packet.dts <= last:
                packet.dts = last + 1
                packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
            self._last[index] = packet.dts or 0
            packet.stream = self._copies[index]
            self._guarded(index, lambda: [packet], output)

    def _guarded(self, index: int, packets, output: OutputContainer) -> None:  # noqa: ANN001
        try:
            for packet in packets():
                output.mux(packet)
        except (av.FFmpegError, OSError, ValueError) as error:
            if getattr(error, "errno", None) in _NO_ROOM:
                raise
            self._copies.pop(index, None)
            self._encoders.pop(index, None)
            self.notes.append(f"the sound of {self._path} ends early ({reason_of(error)})")

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
            self.notes.append(f"the sound of {self._path} ends early ({reason_of(error)})")


class _Encoder:
    """Decodes a stream's packets and encodes them as AAC or FLAC, each sample at its own time."""

    def __init__(self, stream: av.AudioStream, output: OutputContainer, codec: str) -> None:
        context = stream.codec_context
        self._from = stream
        rate = context.sample_rate
        if codec == "aac" and rate not in _AAC_RATES:
            rate = min((r for r in _AAC_RATES if r >= rate), default=_AAC_RATES[-1])
        layout = _LAYOUTS.get(context.channels, "stereo")
        deep = context.format is not None and context.format.bytes > 2
        sample_format = "fltp" if codec == "aac" else "s32" if deep else "s16"
        added = output.add_stream(codec, rate=rate)
        assert isinstance(added, av.AudioStream)
        self._to = added
        self._to.codec_context.layout = layout
        self._to.codec_context.format = sample_format
        if codec == "aac":
            self._to.codec_context.bit_rate = 96_000 * max(1, context.channels)
        self._resampler = AudioResampler(format=sample_format, layout=layout, rate=rate)
        self._rate = rate
        self._next: int | None = None

    def encode(self, packet: av.Packet) -> Iterator[av.Packet]:
        for frame in self._from.decode(packet):
            frame.pts = None if self._next is not None else frame.pts
            yield from self._through(frame)

    def finish(self) -> Iterator[av.Packet]:
        if self._next is None:
            return
        yield from self._through(None)
        yield from self._to.encode(None)

    def _through(self, frame: av.AudioFrame | None) -> Iterator[av.Packet]:
        if frame is not None and self._next is None:
            begins = Fraction(frame.pts or 0) * (frame.time_base or Fraction(1, self._rate))
            self._next = round(begins * self._rate)
        for resampled in self._resampler.resample(frame):
            resampled.pts, resampled.time_base = self._next, Fraction(1, self._rate)
            assert self._next is not None
            self._next += resampled.samples
            yield from self._to.encode(resampled)


def _works(path: Path, number: int, container_format: str, codec: str | None) -> bool:
    """Whether the first packets of a stream, copied or encoded, make a whole file in memory."""
    try:
        with (
            open_video(path) as source,
            av.open(io.BytesIO(), "w", format=_muxer(container_format)) as trial,
        ):
            stream = source.streams.audio[number]
            encoder = _Encoder(stream, trial, codec) if codec else None
            copy = None if encoder else trial.add_stream_from_template(stream)
            sound = (packet for packet in source.demux(stream) if packet.size)
            last: int | None = None
            for packet in islice(sound, _TRIED):
                if packet.dts is None:
                    continue
                if encoder is not None:
                    trial.mux(list(encoder.encode(packet)))
                elif copy is not None and (last is None or packet.dts > last):
                    last = packet.dts
                    packet.stream = copy
                    trial.mux(packet)
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
