"""Messages and progress on standard error: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Item = TypeVar("Item")

LINE_SECONDS = 5.0

console = Console(stderr=True)


class RateColumn(ProgressColumn):
    """Units per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {self.unit}/s" if speed else f"- {self.unit}/s")


def progress_bar(unit: str) -> Progress:
    """A rich progress bar on standard error: done, total, rate in `unit` per second, time spent and left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not sys.stderr.isatty(),
    )


def track(
    items: Iterable[Item], *, description: str, unit: str, total: int | None = None
) -> Iterator[Item]:
    """Iterate with a progress bar; `total` is taken from `items` when it has a length."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress_bar(unit) as bar:
        task = bar.add_task(description, total=total)
        for item in items:
            yield item
            bar.advance(task)


class FrameProgress:
    """Shows restored frames, frames per second, and the time left where the length is known."""

    def __init__(self, total: int | None) -> None:
        self.total = total
        self.frames = 0
        self._began = time.perf_counter()
        self._last_line = self._began
        self._bar = progress_bar("frames") if sys.stderr.isatty() else None

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    @property
    def rate(self) -> float:
        """Frames per second, reading and writing included."""
        return self.frames / max(self.seconds, 1e-9)

    def advance(self, frames: int) -> None:
        self.frames += frames
        if self._bar is not None:
            self._bar.update(self._task, advance=frames)
        elif time.perf_counter() - self._last_line >= LINE_SECONDS:
            self._last_line = time.perf_counter()
            of_total = f" of {self.total}" if self.total else ""
            say(f"{self.frames}{of_total} frames, {self.rate:.1f} frames/s")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("restoring", total=self.total)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def say(message: str) -> None:
    """One line on standard error."""
    console.print(f"lvis: {message}", highlight=False, soft_wrap=True, markup=False)
