"""A clip as the bytes of a small video file, the same bytes whenever it is made of the same frames."""

import io
from fractions import Fraction

import av
import numpy as np

from lvis.data.colour import to_picture
from lvis.data.video_writer import add_video_stream

_CONTAINERS = {"h264": ("mp4", "libx264"), "ffv1": ("matroska", "ffv1")}


class ClipEncoder:
    """Frames uint8 (H, W, 3) in, a file in memory out: H.264 in MP4, or lossless FFV1 in Matroska."""

    def __init__(self, encoding: str, size: tuple[int, int], rate: Fraction, quality: int) -> None:
        container, codec = _CONTAINERS[encoding]
        self._buffer = io.BytesIO()
        # bitexact: Matroska files get no random identifier
        self._container = av.open(
            self._buffer, "w", format=container, options={"fflags": "+bitexact"}
        )
        self._stream = add_video_stream(self._container, codec, rate, size, quality)
        # what x264 writes depends on its number of threads; processes make use of the cores
        self._stream.codec_context.thread_count = 1
        self._count = 0

    def write(self, frame: np.ndarray) -> None:
        picture = to_picture(frame, self._stream, self._count)
        self._container.mux(self._stream.encode(picture))
        self._count += 1

    def finish(self) -> bytes:
        """The whole file; nothing can be written after it."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._buffer.getvalue()
