"""Seconds per stage of a stream. On CUDA the device's own, by events: the host does not wait."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch


class StageClock:
    """Stages may nest; what runs within an inner one counts there alone.

    Args:
        stages: their names.
        device: on CUDA, a stage's seconds are those between its first and last kernel.
    """

    def __init__(self, stages: Sequence[str], device: torch.device) -> None:
        self._device = device
        self._seconds = dict.fromkeys(stages, 0.0)
        self._open: list[str] = []
        # (stage, the stage around it, beginning, end) of what the device may still be doing
        self._queued: deque[tuple[str, str | None, Any, Any]] = deque()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what is done within as this stage's."""
        outer = self._open[-1] if self._open else None
        began = self._mark()
        self._open.append(name)
        try:
            yield
        finally:
            self._open.pop()
        self._queued.append((name, outer, began, self._mark()))
        self._settle(waiting=False)

    def seconds(self) -> dict[str, float]:
        """Of each stage so far, once the device has done what was queued."""
        self._settle(waiting=True)
        return dict(self._seconds)

    def _settle(self, waiting: bool) -> None:
        while self._queued:
            name, outer, began, ended = self._queued[0]
            if self._on_cuda and not ended.query():
                if not waiting:
                    return
                ended.synchronize()
            self._queued.popleft()
            seconds = began.elapsed_time(ended) / 1000 if self._on_cuda else ended - began
            self._seconds[name] += seconds
            if outer is not None:
                self._seconds[outer] -= seconds

    def _mark(self) -> Any:
        if not self._on_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    @property
    def _on_cuda(self) -> bool:
        return self._device.type == "cuda"
