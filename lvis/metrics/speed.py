"""Latency, rate and memory, from the clock of a solver's stream."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lvis.metrics.errors import Unmeasured

# InstantViR's code counts frames over these two and leaves the encoder and the text out
CORE_AND_DECODE = ("transformer", "decode")
_GIB = 2**30


@dataclass(frozen=True)
class Clock:
    """What a stream's clock said of one clip.

    Attributes:
        frames: restored ones.
        seconds: of all stages together.
        time_to_first_frame: seconds from the first measurement to the first restored block.
        timings: seconds per stage.
        peak_memory: bytes allocated at the peak, of a CUDA device; None elsewhere.
        memory_growth: bytes by which the process grew at the peak, on a CPU; None elsewhere.
    """

    frames: int
    seconds: float
    time_to_first_frame: float | None
    timings: Mapping[str, float] = field(default_factory=dict)
    peak_memory: int | None = None
    memory_growth: int | None = None


def speed(name: str, clock: Clock | None) -> float:
    """One of the metrics of the clock, by its name in the registry.

    `frames_per_second` is restored frames over all seconds that the stream worked;
    `frames_per_second_core_decode` is InstantViR's counter, over transformer and decoder alone.

    Raises:
        Unmeasured: nothing was timed, or the solver has no such stage, or no CUDA device.
    """
    if clock is None:
        raise Unmeasured("nothing was timed")
    core = sum(clock.timings.get(stage, 0.0) for stage in CORE_AND_DECODE)
    value = {
        "seconds": lambda: clock.seconds,
        "time_to_first_frame": lambda: clock.time_to_first_frame,
        "frames_per_second": lambda: clock.frames / clock.seconds if clock.seconds else None,
        "frames_per_second_core_decode": lambda: clock.frames / core if core else None,
        "peak_memory_cuda": lambda: _gib(clock.peak_memory),
        "peak_memory_growth": lambda: _gib(clock.memory_growth),
    }[name]()
    if value is None:
        reasons = {
            "peak_memory_cuda": "not on a CUDA device",
            "peak_memory_growth": "not on a CPU",
            "frames_per_second_core_decode": "the solver has no transformer or decoder",
        }
        raise Unmeasured(reasons.get(name, "the stream gave no time"))
    return value


def _gib(count: int | None) -> float | None:
    return None if count is None else count / _GIB
