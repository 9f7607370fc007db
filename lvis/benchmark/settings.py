"""The keys of conf/benchmark.yaml, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lvis.errors import UserError

MODES = ("blocks", "growth", "window", "resolution")
ATTENTION = ("auto", "flash", "cudnn", "efficient", "math")
COMPILE = ("default", "reduce-overhead", "max-autotune-no-cudagraphs")
WEIGHTS = ("checkpoint", "random")
Size = tuple[int, int]


@dataclass(frozen=True)
class Settings:
    """One run of the benchmark; the fields are the keys of conf/benchmark.yaml."""

    mode: str
    size: Size
    blocks: int
    warmup: int | None
    repeats: int
    weights: str
    growth: tuple[int, ...]
    windows: tuple[int, ...]
    sizes: tuple[Size, ...]
    compare: str | None
    compile: str | None
    attention: str
    output: str | None
    seed: int
    precision: str

    @classmethod
    def from_keys(cls, keys: Mapping[str, Any]) -> Settings:
        """Read and check the plain configuration.

        Raises:
            UserError: a value that is none of those it may be.
        """
        optimise = keys["optimise"]
        warmup = keys["warmup"]
        return cls(
            mode=_one_of("mode", keys["mode"], MODES),
            size=_size("size", keys["size"]),
            blocks=_whole("blocks", keys["blocks"], 1),
            warmup=None if warmup is None else _whole("warmup", warmup, 0),
            repeats=_whole("repeats", keys["repeats"], 1),
            weights=_one_of("weights", keys["weights"], WEIGHTS),
            growth=tuple(sorted(_wholes("growth", keys["growth"], 2))),
            windows=_wholes("windows", keys["windows"], 1),
            sizes=tuple(_size("sizes", size) for size in _several("sizes", keys["sizes"])),
            compare=None if keys["compare"] is None else str(keys["compare"]),
            compile=None
            if optimise["compile"] is None
            else _one_of("optimise.compile", optimise["compile"], COMPILE),
            attention=_one_of("optimise.attention", optimise["attention"], ATTENTION),
            output=None if keys["output"] is None else str(keys["output"]),
            seed=_whole("seed", keys["seed"], 0),
            precision=_one_of("precision", keys["precision"], ("fp32", "bf16")),
        )


def _one_of(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise UserError(f"{name}={value} is not known; use one of {', '.join(choices)}")
    return value


def _whole(name: str, value: Any, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise UserError(f"{name}={value} is not a whole number of at least {low}; give one")
    return value


def _several(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise UserError(f"{name}={value} is not a list; give values such as {name}=[...]")
    return value


def _wholes(name: str, value: Any, low: int) -> tuple[int, ...]:
    return tuple(_whole(name, item, low) for item in _several(name, value))


def _size(name: str, value: Any) -> Size:
    whole = isinstance(value, list) and len(value) == 2 and all(type(side) is int for side in value)
    if not whole or min(value) < 1:
        raise UserError(f"{name}={value} is not a size; give [HEIGHT,WIDTH] in pixels")
    return value[0], value[1]
