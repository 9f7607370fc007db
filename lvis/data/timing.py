"""When the frames of a file are shown: its rate if that is even, else every frame's own time."""

from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer

from lvis.data.clock import Clock

DEFAULT_RATE = Fraction(25)
HIGHEST_RATE = 1000  # frames per second; a header that says more is wrong
FINE_TICK = Fraction(1, 90_000)  # seconds; the unit of times that lie on no even grid

# the standard rates that measured times are rounded to
_STANDARD = tuple(
    Fraction(rate) * slowed
    for rate in (24, 25, 30, 48, 50, 60, 100, 120, 240, 15, 12, 10, 1)
    for slowed in (1, Fraction(1000, 1001))
)
_MOST_GUESSED = 2.6  # frames by which a guessed time is off
_ON_GRID = 0.3  # frames by which a time may lie off its place on an even grid


@dataclass(frozen=True)
class Survey:
    """What the packets of a file's pictures say, before any is decoded.

    `rate` in frames per second, the mean one if it varies; `tick` the unit in seconds in which their
    times are whole numbers; `count` the frames; `varies` whether the rate is not even; `gaps` the
    places of an even grid that are empty; `begins` the time of the first frame, in seconds, where
    that which its decoder gives is not to be trusted.
    """

    rate: Fraction
    tick: Fraction
    count: int
    varies: bool = False
    gaps: int = 0
    begins: float | None = None


@dataclass
class FrameTimes:
    """The times of the frames that were read so far, in ticks (of `tick` seconds) after the first one."""

    rate: Fraction
    tick: Fraction
    _ticks: array = field(default_factory=lambda: array("q"))
    _origin: Fraction | None = None

    def add(self, seconds: Fraction | None) -> None:
        """The next frame's time in its file; None: the usual distance after the one before."""
        place = self.at(len(self._ticks))
        if seconds is not None:
            if self._origin is None:
                self._origin = seconds - place * self.tick
            place = round((seconds - self._origin) / self.tick)
        # frames that claim the time of the one before follow it at once
        last = self._ticks[-1] if self._ticks else -1
        self._ticks.append(max(place, last + 1))

    def at(self, position: int) -> int:
        """Ticks after the first frame, of the frame `position`, which may lie beyond those read."""
        if position < len(self._ticks):
            return int(self._ticks[position])
        step = max(1, round(1 / (self.rate * self.tick)))
        last = int(self._ticks[-1]) if self._ticks else -step
        return last + step * (position - len(self._ticks) + 1)


def packets_of(
    container: InputContainer, wanted: Sequence[av.stream.Stream], clock: Clock | None = None
) -> Iterator[av.Packet]:
    """The packets of some of a file's streams in its order, their times on one clock (see `Clock`).

    All pictures and sound are read along, for every reader of a file has to see the same jumps.
    """
    clock = clock or Clock(container)
    indices = {stream.index for stream in wanted}
    beside = [stream for stream in wanted if stream.type not in ("video", "audio")]
    for packet in container.demux(*container.streams.video, *container.streams.audio, *beside):
        clock.correct(packet)
        if packet.stream.index in indices:
            yield packet


def survey(container: InputContainer, stream: av.VideoStream) -> Survey:
    """Read all packets of an open file once; it cannot be read again afterwards."""
    times = array("d")
    count = 0
    is_avi = container.format.name == "avi"
    clock = Clock(container)
    first_key: float | None = None
    with suppress(av.FFmpegError):  # what is broken is found again, and said, by the decoder
        for packet in packets_of(container, [stream], clock):
            if not packet.size or packet.is_discard:
                continue
            count += 1
            # AVI keeps decoding times alone
            ticks = packet.pts if not is_avi and packet.pts is not None else packet.dts
            if ticks is None or packet.time_base is None:
                continue
            times.append(float(ticks * packet.time_base))
            if first_key is None and packet.is_keyframe:
                first_key = times[-1]
    if count < 2 or len(times) < count:
        rate = said_rate(stream)
        return Survey(rate, 1 / rate, count, begins=times[0] if times and is_avi else None)
    shown = np.sort(np.frombuffer(times))
    if first_key is not None:
        # what a recording that was cut has before its first key frame cannot be decoded
        shown = shown[shown >= first_key]
    found = _of_times(shown, stream, count)
    if found.varies and not clock.jumped:
        found = _despite_guesses(shown, stream, container, count) or found
    return replace(found, begins=times[0]) if is_avi else found


def _of_times(times: np.ndarray, stream: av.VideoStream, packets: int) -> Survey:
    seconds = times - times[0]
    count = len(seconds)
    for rate in _candidates(stream, seconds):
        places, on_grid = _places(seconds, rate)
        steps = np.diff(places)
        # where most frames are further apart than the rate says, the true one is lower
        if not on_grid or steps.min(initial=1) < 1 or np.median(steps) > 1:
            continue
        if steps.max(initial=1) == 1 and _is_twice(rate, stream):
            # packets of single fields, two of which make a frame
            return Survey(rate / 2, 2 / rate, packets // 2)
        span = int(places[-1] - places[0]) + 1
        # so many frames stand for longer than one place that the rate is not even
        varies = bool((steps > 1).mean() > 0.1 or steps.max() > 10) if len(steps) else False
        mean = Fraction(count, span) * rate
        return Survey(mean if varies else rate, 1 / rate, packets, varies, span - count)
    mean = Fraction(float((count - 1) / seconds[-1]) if seconds[-1] > 0 else 0)
    mean = mean.limit_denominator(1001)
    if not 0 < mean <= HIGHEST_RATE:
        rate = said_rate(stream)
        return Survey(rate, 1 / rate, packets)
    return Survey(mean, FINE_TICK, packets, True)


def _places(seconds: np.ndarray, rate: Fraction) -> tuple[np.ndarray, bool]:
    """Numbers of the places of an even grid that are nearest to these times, and whether all are near."""
    places = seconds * float(rate)
    # the containers' rounding, and a first frame that is off, must not move the whole grid
    places = places - np.median(places - np.round(places))
    whole = np.round(places)
    return whole, bool(np.abs(places - whole).max() <= _ON_GRID)


def _is_twice(rate: Fraction, stream: av.VideoStream) -> bool:
    said = stream.average_rate
    return said is not None and said > 0 and abs(float(rate / said) - 2) < 0.02


def _despite_guesses(
    times: np.ndarray, stream: av.VideoStream, container: InputContainer, packets: int
) -> Survey | None:
    """The even rate of a broadcast some of whose times are FFmpeg's guesses; None: it has none.

    Programme and transport streams do not time every frame. What FFmpeg counts from a wrong one, in a
    recording that was cut or joined, puts frames between others, and never far from their places. The
    first frame's time is what most of the others say it is.
    """
    rate = said_rate(stream)
    places = times * float(rate)
    if container.format.name not in ("mpegts", "mpeg") or np.diff(places).min() > 1 - _ON_GRID:
        return None
    firsts = places - np.arange(len(places))
    first = np.median(firsts)
    if np.abs(firsts - first).max() > _MOST_GUESSED:
        return None
    return Survey(rate, 1 / rate, packets, begins=float(first / float(rate)))


def _candidates(stream: av.VideoStream, seconds: np.ndarray) -> Iterator[Fraction]:
    """Rates that the file names, then standard ones near what its times show, then what they show."""
    said = [stream.guessed_rate, stream.average_rate, stream.base_rate]
    yield from (Fraction(rate) for rate in said if rate and 0 < rate <= HIGHEST_RATE)
    if seconds[-1] <= 0:
        return
    shown = (len(seconds) - 1) / seconds[-1]
    usual = float(np.median(np.diff(seconds)))
    measured = [rate for rate in (shown, 1 / usual if usual else 0.0) if 0 < rate <= HIGHEST_RATE]
    for rate in measured:
        yield from (standard for standard in _STANDARD if abs(float(standard) / rate - 1) < 0.01)
    for rate in measured:
        yield Fraction(rate).limit_denominator(1001)


def said_rate(stream: av.VideoStream) -> Fraction:
    """Frames per second that the container or the pictures' own coding names, the first that can be true.

    Elementary streams have no times: theirs is in the pictures' own coding. DV's mean is that of its
    clock (60,000 per second).
    """
    rates = [stream.average_rate, stream.guessed_rate]
    if stream.start_time is None:
        rates.reverse()
    return next((Fraction(r) for r in rates if r and 0 < r <= HIGHEST_RATE), DEFAULT_RATE)
