"""Stages of successive blocks at the same time: a block is decoded while the next is encoded and in the transformer.

NOT TESTED ON CUDA: written where there is no GPU. What is tested on the CPU is the order of the
blocks and the bookkeeping of the stages; there the stages run one after another.

On CUDA a stage's kernels go to that stage's own CUDA stream and the host waits for none of them, so
two blocks can be in work at once. The host's order of calls is that of a plain stream and so are
the numbers. What is restored is given out one block late (at the
push that completes the next block, or at `finish`), on every device: a caller that reads each
block at once, as one that writes a file does, would otherwise wait for the decoder before it pushed
the next frames, and nothing would overlap. The price is the latency of one block.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from lvis.solvers.base import Stream

# the operator feeds the encoder: one CUDA stream for both
LANES = {"operator": "encode", "encode": "encode", "transformer": "transformer", "decode": "decode"}
# blocks whose kernels may be queued: the host waits for older ones, which bounds the memory
IN_FLIGHT = 2
# blocks that run alone: with the first of either length, constants are made that all streams share
# (rotary phases, operators' matrices), which other CUDA streams must not read too early
ALONE = 2


class CudaStages:
    """The CUDA streams and events behind a pipelined stream. Not tested on CUDA.

    Within a block each stage begins when the one before it has ended; the first begins when what
    the caller's CUDA stream had queued at the push has ended. Within a stage blocks keep their
    order, because its CUDA stream does, so that the states of VAE, cache and operator are safe.

    Args:
        lanes: a CUDA stream a lane (the values of `LANES`).
        make_event: an event with timing.
        current: the caller's CUDA stream.
        use: makes a CUDA stream the current one, as a context.
    """

    def __init__(
        self,
        lanes: dict[str, Any],
        make_event: Callable[[], Any],
        current: Callable[[], Any],
        use: Callable[[Any], Any],
    ) -> None:
        self._lanes = lanes
        self._make_event, self._current, self._use = make_event, current, use
        self._before: Any = None
        self._timed: deque[tuple[str, Any, Any]] = deque()
        self._in_flight: deque[Any] = deque()

    @classmethod
    def on(cls, device: torch.device) -> CudaStages:
        """Those of a CUDA device; all pipelined streams on it share its CUDA streams, and with them
        the memory that torch's allocator keeps for each."""
        return cls(
            _cuda_lanes(device),
            lambda: torch.cuda.Event(enable_timing=True),
            lambda: torch.cuda.current_stream(device),
            torch.cuda.stream,
        )

    def begin_block(self, measurement: Tensor) -> None:
        """Before a block: wait for the host's own lead to shrink, and mark what the caller queued."""
        while len(self._in_flight) >= IN_FLIGHT:
            self._in_flight.popleft().synchronize()
        self._before = self._mark(self._current())
        self.keep(measurement, self._lanes["encode"])

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What is queued within belongs to this stage of the block."""
        lane = self._lanes[LANES[name]]
        lane.wait_event(self._before)
        with self._use(lane):
            began = self._mark(lane)
            yield
            self._before = self._mark(lane)
        self._timed.append((name, began, self._before))

    def end_block(self) -> Any:
        """The event after which the block is restored."""
        self._in_flight.append(self._before)
        return self._before

    def received(self, tensor: Tensor) -> Tensor:
        """`tensor`, made by another stage: its memory is kept until this stage has read it."""
        self.keep(tensor, self._current())
        return tensor

    def deliver(self, restored: Tensor, done: Any) -> Tensor:
        """A restored block, safe on the caller's CUDA stream."""
        self._current().wait_event(done)
        return self.received(restored)

    def settle(self, timings: dict[str, float]) -> None:
        """Add the device's seconds of the stages that have ended to `timings`."""
        while self._timed and self._timed[0][2].query():
            name, began, ended = self._timed.popleft()
            timings[name] += began.elapsed_time(ended) / 1000

    def drain(self) -> None:
        """Wait until everything queued has ended."""
        for lane in self._lanes.values():
            lane.synchronize()
        self._in_flight.clear()

    def keep(self, tensor: Tensor, lane: Any) -> None:
        """Give the tensor's memory to nobody else before what the lane has queued by the time it is
        freed has ended."""
        tensor.record_stream(lane)

    def _mark(self, lane: Any) -> Any:
        event = self._make_event()
        event.record(lane)
        return event


class Pipelined(Stream):
    """A stream whose stages of successive blocks overlap; mixed in before a stream's class.

    That class reads what another stage made through `received`, and carries nothing from a block's
    later stages back to the next block's earlier ones.

    Attributes:
        timings: on CUDA, the device's seconds between a stage's beginning and end. Stages that share
            the device slow each other down, so the sum exceeds what the clip took.
    """

    # after the decoder and with it, so that the next block's encoder need not wait
    agreement_stage = "decode"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._stages: CudaStages | None = None
        self._waiting: deque[tuple[Tensor, Any]] = deque()
        self._issued: deque[Any] = deque()
        self._alone = ALONE
        # the whole clip comes at once at the end: there is nothing to wait for
        if self.device.type == "cuda" and not self.whole_clip:
            self._stages = self.make_stages()

    def make_stages(self) -> CudaStages:
        """Where the stages run; only called on a CUDA device."""
        return CudaStages.on(self.device)

    def push(self, measurement: Tensor) -> list[Tensor]:
        """See `Stream.push`; each block comes with the push that completes the next one."""
        self._hold(super().push(measurement))
        return self._release(keep=1)

    def finish(self) -> list[Tensor]:
        """See `Stream.finish`: the block held back, and the rest."""
        self._hold(super().finish())
        restored = self._release(keep=0)
        self.settle()
        return restored

    def settle(self) -> None:
        """Wait until all that was queued has ended and count it in `timings`."""
        if self._stages is not None:
            self._stages.drain()
            self._stages.settle(self.timings)

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        # what this stream holds may be freed now, and must not be while a stage still reads it
        if self._stages is not None:
            self._stages.drain()
        self._waiting.clear()

    @contextmanager
    def clock(self, stage: str) -> Iterator[None]:
        """See `Stream.clock`; on CUDA, also where the stage's kernels go."""
        with super().clock(stage) if self._stages is None else self._stages.stage(stage):
            yield

    def within(self, stage: str) -> AbstractContextManager[None]:
        """See `Stream.within`."""
        return super().within(stage) if self._stages is None else self._stages.stage(stage)

    def received(self, tensor: Tensor) -> Tensor:
        """See `Stream.received`."""
        return tensor if self._stages is None else self._stages.received(tensor)

    def _restore(self, measurement: Tensor) -> Tensor:
        if self._stages is None:
            return super()._restore(measurement)
        self._stages.begin_block(measurement)
        restored = super()._restore(measurement)
        self._issued.append(self._stages.end_block())
        if self._alone:
            self._alone -= 1
            self._stages.drain()
        self._stages.settle(self.timings)
        return restored

    def _first_is_there(self) -> None:
        """Nothing is there yet when a block has been queued; see `_release`."""

    def _hold(self, restored: list[Tensor]) -> None:
        for block in restored:
            self._waiting.append((block, self._issued.popleft() if self._issued else None))

    def _release(self, keep: int) -> list[Tensor]:
        released = []
        while len(self._waiting) > keep:
            block, done = self._waiting.popleft()
            if self.time_to_first_frame is None:
                if done is not None:
                    done.synchronize()
                super()._first_is_there()
            released.append(block if self._stages is None else self._stages.deliver(block, done))
        return released


@lru_cache(maxsize=8)
def _cuda_lanes(device: torch.device) -> dict[str, Any]:
    return {lane: torch.cuda.Stream(device) for lane in sorted(set(LANES.values()))}
