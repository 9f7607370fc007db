"""`python -m lvis.benchmark solver=student vae=lean`: what a solver costs, in time, memory and operations.

`mode=growth` follows one stream, `mode=window` and `mode=resolution` vary those; `weights=random` times a model
without its checkpoint; `compare=earlier.json` prints ratios; `mode=roofline device=h100` estimates for a GPU that is
not here.
"""

import json
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from lvis.benchmark.build import attention_backend, build_solver, realised
from lvis.benchmark.machine import describe, matrix_product_rate
from lvis.benchmark.modes import (
    Advance,
    Point,
    blocks_pushed,
    measure_blocks,
    measure_growth,
    with_window,
)
from lvis.benchmark.plot import plot
from lvis.benchmark.report import FORMAT, Result, comparison, markdown, read
from lvis.benchmark.roofline import roofline, table_of
from lvis.benchmark.settings import Settings
from lvis.cli.build import build
from lvis.cli.config import entry, plain
from lvis.cli.progress import console, progress_bar
from lvis.cli.schema import validated
from lvis.files import write_text
from lvis.hardware import pick_device
from lvis.kernels.convolution import found_forms, set_form
from lvis.metrics.peak_memory import PeakMemory
from lvis.operators import LinearOperator
from lvis.solvers.base import Solver
from lvis.solvers.build import settled

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp8": torch.bfloat16}


def benchmark(cfg: DictConfig) -> Result:
    """Time the configured solver, write `<output>.json`, `.md` and a picture, and print the table.

    Raises:
        UserError: a key, a device, weights or an earlier result that cannot be used.
    """
    if cfg.mode == "roofline":
        return estimate(cfg)
    cfg = settled(cfg)
    settings = validated(Settings, plain(cfg))
    earlier = read(settings.compare) if settings.compare else None
    device = pick_device(cfg.device)
    rate = matrix_product_rate(device, DTYPES[settings.precision])
    memory = PeakMemory(device)
    solver = build_solver(cfg, settings)
    operator = build(cfg.task.operator)
    set_form(settings.convolution)
    with progress_bar("blocks") as bar, attention_backend(settings.attention, device):
        task = bar.add_task(f"{solver.name}, {settings.mode}", total=_total(settings, solver))
        points = measure(
            settings, solver, operator, rate, memory, lambda: bar.update(task, advance=1)
        )
    result: Result = {
        "format": FORMAT,
        "what": {
            "solver": solver.name,
            "task": cfg.task.name,
            "vae": cfg.vae.name,
            "model": cfg.model.name,
            "weights": settings.weights,
            "precision": settings.precision,
            "mode": settings.mode,
            "compile": settings.compile,
            "attention": settings.attention,
            "convolution": settings.convolution,
            "convolutions_found": found_forms(),
        },
        "machine": describe(device),
        "matrix_rate_flops": rate,
        "points": points,
        "config": plain(cfg),
    }
    stem = settings.output or "outputs/benchmark/" + "_".join(
        [settings.mode, solver.name, cfg.task.name, cfg.vae.name, cfg.model.name]
    )
    table = markdown(result)
    write_text(f"{stem}.json", json.dumps(result, indent=1, default=str) + "\n")
    write_text(f"{stem}.md", table)
    if settings.mode != "blocks":
        plot(points, settings.mode, Path(f"{stem}.png"))
    console.print(table, markup=False, soft_wrap=True)
    if earlier is not None:
        console.print(comparison(result, earlier), markup=False, soft_wrap=True)
    console.print(f"written to {stem}.json and beside it", markup=False, soft_wrap=True)
    return result


def estimate(cfg: DictConfig) -> Result:
    """`mode=roofline`: print and write the estimate for the card that `device` names.

    Raises:
        UserError: a key or a card that is not known, or a solver without a stream.
    """
    cfg = cfg.copy()
    if cfg.precision == "auto":
        cfg.precision = "bf16"
    settings = validated(Settings, plain(cfg))
    result = roofline(cfg, str(cfg.device), settings.size, settings.attention)
    stem = settings.output or "outputs/benchmark/" + "_".join(
        ["roofline", str(cfg.device), result["solver"], cfg.task.name, cfg.vae.name, cfg.model.name]
    )
    table = table_of(result)
    write_text(f"{stem}.json", json.dumps(result, indent=1) + "\n")
    write_text(f"{stem}.md", table)
    console.print(table, markup=False, soft_wrap=True)
    return result


def measure(
    settings: Settings,
    solver: Solver,
    operator: LinearOperator,
    rate: float,
    memory: PeakMemory,
    advance: Advance = lambda: None,
) -> list[Point]:
    """The points of the chosen mode."""
    if settings.mode == "growth":
        fixed = realised(operator, settings.size, settings.seed)
        return measure_growth(
            solver, fixed, settings.size, settings.growth, memory, settings.seed, advance
        )
    points: list[Any] = []
    for size, window in _grid(settings):
        if window is not None:
            with_window(solver, window)
        points.append(
            measure_blocks(
                solver,
                realised(operator, size, settings.seed),
                size,
                blocks=settings.blocks,
                repeats=settings.repeats,
                warmup=settings.warmup,
                rate=rate,
                memory=PeakMemory(solver.device) if points else memory,
                seed=settings.seed,
                advance=advance,
            )
        )
    return points


def _grid(settings: Settings) -> list[tuple[tuple[int, int], int | None]]:
    if settings.mode == "window":
        return [(settings.size, window) for window in settings.windows]
    sizes = settings.sizes if settings.mode == "resolution" else (settings.size,)
    return [(size, None) for size in sizes]


def _total(settings: Settings, solver: Solver) -> int:
    if settings.mode == "growth":
        return max(settings.growth)
    total = 0
    usual = getattr(solver, "window", None)
    for _, window in _grid(settings):
        if window is not None:
            with_window(solver, window)
        total += blocks_pushed(solver, settings.blocks, settings.repeats, settings.warmup)
    if usual is not None:
        with_window(solver, usual)
    return total


main = entry("benchmark")(benchmark)
