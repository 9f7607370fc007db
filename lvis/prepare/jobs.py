"""A pool of processes that shows progress, stops at once when told to, and dies with its parent."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Generic, TypeVar

from lvis.cli.progress import progress_bar, say
from lvis.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
Advance = Callable[[int], None]

POLL_SECONDS = 0.5
LINE_SECONDS = 10.0
AHEAD = 4  # items per process that wait in the queue


class Meter:
    """Progress of one stage: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, description: str, unit: str, total: int) -> None:
        self.description, self.unit, self.total = description, unit, total
        self.done = 0
        self._began = self._last_line = time.perf_counter()
        self._bar = progress_bar(unit) if sys.stderr.isatty() else None

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def show(self, done: int) -> None:
        self.done = done
        now = time.perf_counter()
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
        elif now - self._last_line >= LINE_SECONDS and done:
            self._last_line = now
            rate = done / self.seconds
            left = (self.total - done) / rate
            say(
                f"{self.description}: {done} of {self.total} {self.unit}, "
                f"{rate:.2f} {self.unit}/s, {left:.0f} s left"
            )

    def __enter__(self) -> "Meter":
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self.description, total=self.total)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()


class Stopped(Exception):
    """Raised inside a process when the run is to end."""


class Counter:
    """Units done, over all processes; raises `Stopped` in them once `stop` was called."""

    def __init__(self, done: Any, stopping: Any) -> None:
        self._done, self._stopping = done, stopping

    def __call__(self, units: int) -> None:
        if self._stopping.is_set():
            raise Stopped
        if units:
            with self._done.get_lock():
                self._done.value += units

    @property
    def value(self) -> int:
        return self._done.value

    def stop(self) -> None:
        self._stopping.set()


class Pool(Generic[Item, Result]):
    """Applies `function(item, advance)` to items, `workers` at a time; with one worker in this process.

    Args:
        function: a module's function; it tells `advance` of the units it has done.

    Raises:
        UserError: what `function` raises, or a process that died.
    """

    def __init__(self, function: Callable[[Item, Advance], Result], workers: int) -> None:
        self.function, self.workers = function, workers

    def run(self, items: Iterable[Item], meter: Meter) -> Iterator[Result]:
        """Results as they come, in any order."""
        if self.workers == 1:
            for item in items:
                yield self.function(item, lambda units: meter.show(meter.done + units))
            return
        context = multiprocessing.get_context("spawn")  # forking a process with threads may hang
        counter = Counter(context.Value("q", 0), context.Event())
        executor = ProcessPoolExecutor(self.workers, context, _begin, (counter,))
        try:
            yield from self._results(executor, iter(items), counter, meter)
        except BrokenProcessPool as error:
            raise UserError(
                f"a process of workers={self.workers} died, perhaps for lack of memory; run the same "
                "command again, with fewer workers"
            ) from error
        finally:
            counter.stop()
            executor.shutdown(wait=True, cancel_futures=True)

    def _results(
        self,
        executor: ProcessPoolExecutor,
        items: Iterator[Item],
        counter: Counter,
        meter: Meter,
    ) -> Iterator[Result]:
        running: set[Future[Result]] = set()
        exhausted = False
        while running or not exhausted:
            while not exhausted and len(running) < AHEAD * self.workers:
                try:
                    item = next(items)
                except StopIteration:
                    exhausted = True
                    break
                running.add(executor.submit(_call, self.function, item))
            done, running = wait(running, POLL_SECONDS, FIRST_COMPLETED)
            meter.show(counter.value)
            for future in done:
                yield future.result()


_counter: Counter | None = None


def _begin(counter: Counter) -> None:
    global _counter
    _counter = counter
    # ctrl-C reaches the whole group: the parent decides what happens
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    # a pool's process whose parent was killed would wait for work for ever
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _call(function: Callable[[Item, Advance], Result], item: Item) -> Result:
    assert _counter is not None
    return function(item, _counter)
