"""Copying sound from one container to another packet by packet, without decoding it."""

import io
from collections.abc import Iterator
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer

from lvis.untrusted import open_video


class SoundCopy:
    """The audio streams of `source`, re-muxed into `output` in step with the frames that are
    written there.

    Give it the source before the output's header is written (adding its first frame): streams are
    added then. Streams that the container cannot carry are left out and counted in `refused`. Times
    are taken relative to the start of the source's first video stream, so that sound and pictures
    stay together.
    """

    def __init__(self, source: str | Path, output: OutputContainer) -> None:
        self._source = open_video(source)
        self._start = _start(self._source)
        self._copies = {}
        self.refused: list[str] = []
        for stream in self._source.streams.audio:
            if _carries(output.format.name, stream):
                self._copies[stream.index] = output.add_stream_from_template(stream)
            else:
                self.refused.append(stream.codec_context.name)
        self._packets = self._read()
        self._waiting = next(self._packets, None)

    def until(self, seconds: float, output: OutputContainer) -> None:
        """Mux the sound that starts before `seconds` of the video."""
        while self._waiting is not None and self._waiting[0] < seconds:
            _, packet = self._waiting
            self._waiting = next(self._packets, None)
            packet.stream = self._copies[packet.stream.index]
            output.mux(packet)

    def close(self) -> None:
        self._source.close()

    def _read(self) -> Iterator[tuple[float, av.Packet]]:
        """Packets with their time in seconds after the video's start, which becomes their zero."""
        wanted = [self._source.streams[index] for index in self._copies]
        for packet in self._source.demux(*wanted) if wanted else ():
            if packet.dts is None or packet.time_base is None or not packet.size:
                continue
            shift = round(self._start / packet.time_base)
            packet.dts -= shift
            if packet.pts is not None:
                packet.pts -= shift
            yield float(packet.dts * packet.time_base), packet


def _start(container: InputContainer) -> float:
    """Seconds at which the first video stream begins."""
    video = next(iter(container.streams.video), None)
    if video is None or video.start_time is None or video.time_base is None:
        return 0.0
    return float(video.start_time * video.time_base)


def _carries(container_format: str, stream: av.AudioStream) -> bool:
    """Whether a container format takes this codec: its header is written once, into memory."""
    try:
        with av.open(io.BytesIO(), "w", format=container_format) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True
