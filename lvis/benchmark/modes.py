"""The four measurements: one setting, along a stream, against the window, against the size."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from lvis.benchmark.counting import Count
from lvis.benchmark.streaming import BlockCost, TimedStream, fill_blocks
from lvis.errors import UserError
from lvis.metrics.peak_memory import PeakMemory
from lvis.operators import LinearOperator
from lvis.solvers.base import STAGES, Solver

Point = dict[str, Any]
Advance = Callable[[], None]


def measure_blocks(
    solver: Solver,
    operator: LinearOperator,
    size: tuple[int, int],
    *,
    blocks: int,
    repeats: int,
    warmup: int | None,
    rate: float,
    memory: PeakMemory,
    seed: int = 0,
    advance: Advance = lambda: None,
) -> Point:
    """Everything about one setting.

    A first stream of two blocks warms up; then each of `repeats` streams gives its time to first
    frame, `warmup` blocks that are not counted (None: until the window is full), and `blocks` that
    are. The passes and operations are counted on further blocks, outside the clock.

    Args:
        rate: floating-point operations per second of a matrix product here.
        memory: made before the solver was built, so that its weights are included.
        advance: called after every block, for a progress bar.
    """
    excluded = fill_blocks(solver) if warmup is None else warmup

    TimedStream(solver, operator, size, seed).run(2, advance)
    first, opened, costs = [], [], []
    for repeat in range(repeats):
        stream = TimedStream(solver, operator, size, seed + repeat)
        stream.run(1 + excluded, advance)
        opened.append(stream.open_seconds)
        costs += stream.run(blocks, advance)
        first.append(stream.time_to_first_frame)
    peak = memory.peak
    counting = Count(solver)
    with counting:
        stream.run(blocks, advance)
    block = summary([cost.seconds for cost in costs])
    flops = {stage: total / blocks for stage, total in counting.flops.items()}
    return {
        "height": size[0],
        "width": size[1],
        "window": getattr(solver, "window", None),
        "frames": repeats * blocks * costs[-1].frames,
        "open_s": summary(opened),
        "time_to_first_frame_s": summary(first),
        "block_s": block,
        "frames_per_s": summary([cost.frames / cost.seconds for cost in costs]),
        "stage_s": {stage: summary([cost.stages[stage] for cost in costs]) for stage in STAGES},
        "peak_memory_bytes": peak,
        "cache_bytes": stream.cache_bytes,
        "attended_tokens": costs[-1].attended_tokens,
        "passes_per_block": {stage: total / blocks for stage, total in counting.passes.items()},
        "flops_per_block": flops,
        "share_of_matrix_rate": flops["all"] / block["median"] / rate,
    }


def blocks_pushed(solver: Solver, blocks: int, repeats: int, warmup: int | None) -> int:
    """How often `measure_blocks` calls `advance`."""
    excluded = fill_blocks(solver) if warmup is None else warmup
    return 2 + repeats * (1 + excluded + blocks) + blocks


def measure_growth(
    solver: Solver,
    operator: LinearOperator,
    size: tuple[int, int],
    marks: Sequence[int],
    memory: PeakMemory,
    seed: int = 0,
    advance: Advance = lambda: None,
) -> list[Point]:
    """One stream to the last of `marks` and what its blocks cost around each mark.

    The cost at block n (the first is 1) is over the up to five blocks that end with it; the first
    block is never among them.
    """
    stream = TimedStream(solver, operator, size, seed)
    costs: list[BlockCost] = []
    points = []
    for number in range(1, max(marks) + 1):
        costs.append(stream.next_block())
        advance()
        if number in marks:
            recent = costs[1:][-5:]
            points.append(
                {
                    "block": number,
                    "block_s": summary([cost.seconds for cost in recent]),
                    "frames_per_s": summary([cost.frames / cost.seconds for cost in recent]),
                    "attended_tokens": recent[-1].attended_tokens,
                    "cache_bytes": stream.cache_bytes,
                    "memory_bytes": memory.now,
                    "peak_memory_bytes": memory.peak,
                }
            )
    return points


def with_window(solver: Solver, window: int) -> None:
    """Give the solver another window, in latent frames, for the streams it opens from now on.

    Raises:
        UserError: the solver has no window.
    """
    if not hasattr(solver, "window"):
        raise UserError(
            f"solver={solver.name} has no window to vary; choose another solver or mode"
        )
    solver.window = window


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest, and how many."""
    return {
        "median": median(values),
        "min": min(values),
        "max": max(values),
        "n": len(values),
    }
