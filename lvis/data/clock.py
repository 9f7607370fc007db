"""A broadcast's clock where it jumps: joined, so that times only go forward."""

from fractions import Fraction

import av
from av.container import InputContainer

_FORWARD = 10  # seconds; FFmpeg's limit (-dts_delta_threshold), beyond which a broadcast clock was set anew
_BACKWARD = Fraction(1, 10)  # seconds by which packets of one stream may be out of order
_APART = 1  # seconds by which sound and pictures of one recording may end apart


class Clock:
    """Corrects the times of a file's packets, which have to pass `correct` in the order of the file.

    A stream whose clock jumps goes on from where it had come to; the others follow it by the same
    offset at their own jump, so that sound and pictures stay together. Jumps ahead are a broadcast's
    (transport and programme streams); in other containers they are pauses.
    """

    def __init__(self, container: InputContainer) -> None:
        self._broadcast = container.format.name in ("mpegts", "mpeg")
        self._offsets = [Fraction(0)]
        self._epochs: dict[int, int] = {}
        self._ends: dict[int, Fraction] = {}

    @property
    def jumped(self) -> bool:
        return len(self._offsets) > 1

    def correct(self, packet: av.Packet) -> None:
        """Move the packet's times; packets without any are left as they are."""
        if packet.dts is None or packet.time_base is None:
            return
        index, tick = packet.stream.index, packet.time_base
        begins = packet.dts * tick
        expected = self._ends.get(index)
        if expected is not None and self._jumps(begins + self._offset(index) - expected):
            self._epochs[index] = self._next_epoch(index, begins, expected)
        offset = self._offset(index)
        self._ends[index] = begins + offset + (packet.duration or 0) * tick
        moved = round(offset / tick)
        packet.dts += moved
        if packet.pts is not None:
            packet.pts += moved

    def _offset(self, index: int) -> Fraction:
        return self._offsets[self._epochs.get(index, 0)]

    def _jumps(self, delta: Fraction) -> bool:
        return delta < -_BACKWARD or (self._broadcast and delta > _FORWARD)

    def _next_epoch(self, index: int, begins: Fraction, expected: Fraction) -> int:
        for epoch in range(self._epochs.get(index, 0) + 1, len(self._offsets)):
            if abs(begins + self._offsets[epoch] - expected) < _APART:
                return epoch
        self._offsets.append(expected - begins)
        return len(self._offsets) - 1
