"""A stream under the clock: measurement blocks made on the way, each block's cost recorded."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lvis.benchmark.machine import synchronise
from lvis.errors import UserError
from lvis.operators import LinearOperator, StreamState
from lvis.solvers.base import Solver
from lvis.solvers.blocks import block_frames


@dataclass(frozen=True)
class BlockCost:
    """What one block took: seconds in all and a stage, frames restored, keys a query attended to."""

    seconds: float
    stages: dict[str, float]
    frames: int
    attended_tokens: int | None


class Measurements:
    """Endless measurement blocks of random clips, in constant memory.

    The cost of no solver depends on what a clip shows, so the clip is noise.

    Raises:
        UserError: the operator needs the whole clip.
    """

    def __init__(
        self, operator: LinearOperator, size: tuple[int, int], batch: int, seed: int
    ) -> None:
        if not operator.streamable:
            raise UserError(
                "this task's operator needs the whole clip, and the benchmark times streams; "
                "choose a streamable one, such as border=causal"
            )
        self._operator = operator
        self._shape = (batch, 3, *size)
        self._random = torch.Generator().manual_seed(seed)
        self._state: StreamState | None = None

    @torch.inference_mode()
    def take(self, frames: int) -> Tensor:
        """The next `frames` frames of the measurement."""
        batch, channels, height, width = self._shape
        clip = torch.rand((batch, channels, frames, height, width), generator=self._random) * 2 - 1
        if self._operator.space == "latent":
            return clip
        here, offset = self._operator.block(self._state, frames)
        self._state = self._operator.advance(self._state, clip)
        return here(clip) + offset


class TimedStream:
    """A solver's stream on random measurements, one block a call.

    Args:
        operator: realised.
        size: (H, W) of x.

    Attributes:
        open_seconds: what opening took (the prompt's embedding and the cache's allocation).
        blocks: blocks restored so far.
    """

    def __init__(
        self, solver: Solver, operator: LinearOperator, size: tuple[int, int], seed: int = 0
    ) -> None:
        self._frames = block_frames(solver.block_size)
        self._measurements = Measurements(operator, size, 1, seed)
        self._device = solver.device
        began = self._now()
        self.stream = solver.open(operator, size=size, seed=seed)
        self.open_seconds = self._now() - began
        if self.stream.whole_clip:
            raise UserError(
                "this solver answers at the end of the clip with this task, so there is no stream "
                "to time; choose another task or solver"
            )
        self.blocks = 0

    def next_block(self) -> BlockCost:
        """Restore the next block; only the solver's work is timed."""
        measured = self._measurements.take(self._frames[min(self.blocks, 1)]).to(self._device)
        self.blocks += 1
        before, restored = dict(self.stream.timings), self.stream.frames
        began = self._now()
        self.stream.push(measured)
        seconds = self._now() - began
        return BlockCost(
            seconds,
            {stage: total - before[stage] for stage, total in self.stream.timings.items()},
            self.stream.frames - restored,
            getattr(getattr(self.stream, "cache", None), "attended_tokens", None),
        )

    def run(self, count: int, advance: Callable[[], None] = lambda: None) -> list[BlockCost]:
        """What the next `count` blocks cost; `advance` is called after each."""
        costs = []
        for _ in range(count):
            costs.append(self.next_block())
            advance()
        return costs

    @property
    def time_to_first_frame(self) -> float:
        assert self.stream.time_to_first_frame is not None, "no block was restored"
        return self.stream.time_to_first_frame

    @property
    def cache_bytes(self) -> int | None:
        return getattr(getattr(self.stream, "cache", None), "nbytes", None)

    def _now(self) -> float:
        synchronise(self._device)
        return time.perf_counter()


def fill_blocks(solver: Solver) -> int:
    """Blocks after the first until the solver's window is full; 1 for a solver without one."""
    window = getattr(solver, "window", None)
    return max(1, -(-window // solver.block_size) - 1) if window else 1
