"""Text subtitles that a container does not take in their format, in the one it takes."""

from collections.abc import Iterator
from fractions import Fraction

import av
from av.container import OutputContainer
from av.subtitles.stream import SubtitleStream

TEXT = ("subrip", "ass", "ssa", "mov_text", "webvtt", "text", "srt")
_MILLISECOND = Fraction(1, 1000)


class SubtitleEncoder:
    """Decodes a stream's packets and encodes them as `codec` ("mov_text", "subrip"), each at its own time."""

    def __init__(self, stream: SubtitleStream, output: OutputContainer, codec: str) -> None:
        self._from = stream.codec_context
        added = output.add_stream(codec)
        assert isinstance(added, SubtitleStream)
        self._to = added
        self._to.codec_context.time_base = _MILLISECOND
        # FFmpeg's text encoders want the style sheet that its decoders make
        self._from.open(strict=False)
        self._to.codec_context.subtitle_header = self._from.subtitle_header

    @property
    def stream(self) -> av.stream.Stream:
        return self._to

    def encode(self, packet: av.Packet) -> Iterator[av.Packet]:
        text = self._from.decode2(packet)
        if text is None:
            return  # a pause
        encoded = self._to.codec_context.encode_subtitle(text)
        encoded.pts = encoded.dts = packet.pts
        encoded.duration, encoded.time_base = packet.duration, packet.time_base
        encoded.stream = self._to
        yield encoded

    def finish(self) -> Iterator[av.Packet]:
        yield from ()
