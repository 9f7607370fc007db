"""A result's points as a picture: time, memory and attended tokens."""

from pathlib import Path
from typing import Any

from lvis.benchmark.report import lookup
from lvis.files import replacing

AXES = {"growth": "block", "window": "window (latent frames)", "resolution": "pixels per frame"}


def plot(points: list[dict[str, Any]], mode: str, target: Path) -> None:
    """Write a PNG with seconds per block (median and range), memory and attended tokens.

    Args:
        mode: a key of `AXES`.
    """
    from matplotlib.figure import Figure

    positions = [_position(point, mode) for point in points]
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    seconds, memory, tokens = figure.subplots(1, 3)
    summaries = [point["block_s"] for point in points]
    middles = [each["median"] for each in summaries]
    below = [each["median"] - each["min"] for each in summaries]
    above = [each["max"] - each["median"] for each in summaries]
    seconds.errorbar(positions, middles, yerr=(below, above), marker="o", capsize=3)
    seconds.set(ylabel="seconds per block")
    key = "memory_bytes" if mode == "growth" else "peak_memory_bytes"
    for name, label in ((key, "process"), ("cache_bytes", "KV cache")):
        values = [lookup(point, name) for point in points]
        if None not in values:
            memory.plot(positions, [value / 1e6 for value in values], marker="o", label=label)
    memory.set(ylabel="memory (MB)")
    memory.legend()
    attended = [point["attended_tokens"] for point in points]
    if None not in attended:
        tokens.plot(positions, attended, marker="o")
    tokens.set(ylabel="attended tokens")
    for axes in (seconds, memory, tokens):
        axes.set_xlabel(AXES[mode])
        axes.set_ylim(bottom=0)
        if mode == "growth":
            axes.set_xscale("log")
    with replacing(target) as partial:
        figure.savefig(partial, dpi=110)


def _position(point: dict[str, Any], mode: str) -> float:
    if mode == "growth":
        return point["block"]
    return point["window"] if mode == "window" else point["height"] * point["width"]
