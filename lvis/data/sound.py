"""Copying sound from one container to another packet by packet, without decoding it."""

import io
from collections.abc import Iterator
from pathlib import Path

import av
from av.container import OutputContainer


class SoundCopy:
    """The audio streams of `source`, re-muxed into `output` in step with the frames that are written there.

    Give it the source before the output's header is written (adding its first frame): streams are added then. Streams
    that the container cannot carry are left out and counted in `refused`. Times are taken relative to the start of
    the source's first video stream, so that sound and pictures stay together.
    """

    def __init__(self, source: str | Path, output: OutputContainer) -> None:
        self._source = av.open(str(source))
        streams = self._source.streams
        video = streams.video[0] if streams.video else None
        self._start = (
            float(video.start_time * video.time_base) if video and video.start_time else 0.0
        )
        self._copies = {}
        self.refused: list[str] = []
        for stream in streams.audio:
            if _carries(output.format.name, stream):
                self._copies[stream.index] = output.add_stream_from_template(stream)
            else:
                self.refused.append(
                    stream.codec_context.name if stream.codec_context else "unknown"
                )
        self._packets = self._read()
        self._waiting = next(self._packets, None)

    def until(self, seconds: float, output: OutputContainer) -> None:
        """Mux the sound that starts before `seconds` of the video."""
        while self._waiting is not None and self._time(self._waiting) < seconds:
            packet = self._waiting
            self._waiting = next(self._packets, None)
            shift = round(self._start / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = packet.dts - shift
            packet.stream = self._copies[packet.stream.index]
            output.mux(packet)

    def close(self) -> None:
        self._source.close()

    def _time(self, packet: av.Packet) -> float:
        return float(packet.dts * packet.time_base) - self._start

    def _read(self) -> Iterator[av.Packet]:
        if not self._copies:
            return
        wanted = [self._source.streams[index] for index in self._copies]
        for packet in self._source.demux(*wanted):
            if packet.dts is not None and packet.size:
                yield packet


def _carries(container_format: str, stream: av.AudioStream) -> bool:
    """Whether a container format takes this codec: its header is written once, into memory."""
    try:
        with av.open(io.BytesIO(), "w", format=container_format) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True
