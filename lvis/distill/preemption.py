"""Stopping at a step boundary when the scheduler or the user asks for it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import distributed

EXIT_REQUEUE = 75  # EX_TEMPFAIL: a batch script that sees it puts the job back in the queue

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class Preemption:
    """Set by a signal, read between steps. A second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.signal == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.signal = number

    def listen(self) -> dict[int, Any]:
        """Take the signals; returns their handlers so far. Only the main thread has signals."""
        if threading.current_thread() is not threading.main_thread():
            return {}
        # what nohup ignores stays ignored
        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        return {number: signal.signal(number, self) for number in heard}

    def asked(self, device: torch.device) -> bool:
        """Whether any process was asked to stop; every process must ask, at the same step."""
        flag = torch.tensor([self.signal or 0], device=device)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
        # waits for the device, or the slowest process, most of a step's time; a signal of our own may come meanwhile
        asked = int(flag)
        if asked:
            self.signal = asked
        return bool(asked)

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C as shells expect, otherwise `EXIT_REQUEUE`."""
        return 130 if self.signal == signal.SIGINT else EXIT_REQUEUE


@contextmanager
def heeding_signals() -> Iterator[Preemption]:
    """A `Preemption` that SIGINT, SIGTERM, SIGUSR1 and SIGHUP set, for as long as the block lasts.

    The handler only sets a flag: saving inside one can deadlock processes that wait for each other.
    Outside the main thread, where Python has no signals, the flag is never set.
    """
    preemption = Preemption()
    before = preemption.listen()
    try:
        yield preemption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
