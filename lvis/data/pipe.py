"""Raw frames on standard input and output: rgb24 without a header (ffmpeg -f rawvideo)."""

import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO, Self

import numpy as np

from lvis.data.frames import DEFAULT_RATE, VideoInfo
from lvis.errors import UserError


class RawReader:
    """rgb24 frames of a known size from a byte stream (standard input), each as soon as it is
    complete.

    Raises:
        UserError: no size given, or the stream ends inside a frame, as it does when the size is
        wrong, or before the first one.
    """

    def __init__(
        self,
        size: tuple[int, int] | None,
        rate: Fraction | None = None,
        stream: BinaryIO | None = None,
    ) -> None:
        if size is None:
            raise UserError("input=- needs the size of the raw frames; add raw.size=[HEIGHT,WIDTH]")
        self.info = VideoInfo(size[0], size[1], rate or DEFAULT_RATE)
        self.notes: list[str] = []
        self._stream = stream or sys.stdin.buffer

    def __iter__(self) -> Iterator[np.ndarray]:
        shape = (self.info.height, self.info.width, 3)
        frame_bytes = shape[0] * shape[1] * 3
        position = 0
        while payload := self._stream.read(frame_bytes):
            if len(payload) < frame_bytes:
                raise UserError(
                    f"standard input ends inside frame {position} "
                    f"({len(payload)} of {frame_bytes} bytes); "
                    f"check that it is rgb24 of raw.size=[{shape[0]},{shape[1]}]"
                )
            yield np.frombuffer(payload, np.uint8).reshape(shape)
            position += 1
        if not position:
            raise UserError(
                "standard input gave no frames; check the command that writes into the pipe"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


class RawWriter:
    """rgb24 frames to a byte stream (standard output), flushed frame by frame.

    Raises:
        UserError: the program that reads them has gone away.
    """

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self.notes: list[str] = []
        self._stream = stream or sys.stdout.buffer
        self._count = 0

    def write(self, frame: np.ndarray) -> None:
        try:
            self._stream.write(frame.tobytes())
            self._stream.flush()
        except BrokenPipeError as error:
            _silence_standard_output()
            raise UserError(
                f"the program that reads standard output closed it after {self._count} frames; "
                "nothing more was written"
            ) from error
        self._count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


def _silence_standard_output() -> None:
    # the interpreter flushes standard output when it ends and would report the broken pipe a second
    # time
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
