"""Sound that a container does not take, encoded as AAC or FLAC."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction

import av
from av.audio.resampler import AudioResampler
from av.container import OutputContainer

_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
# layouts that a stream with this many unnamed channels most likely has
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


class SoundEncoder:
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

    @property
    def stream(self) -> av.stream.Stream:
        return self._to

    def encode(self, packet: av.Packet) -> Iterator[av.Packet]:
        decoded: list[av.AudioFrame] = []
        with suppress(av.InvalidDataError):  # broken on its way; the next may be whole
            decoded = self._from.decode(packet)
        for frame in decoded:
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
