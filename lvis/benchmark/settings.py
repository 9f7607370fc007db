"""The keys of conf/benchmark.yaml, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lvis.cli import values
from lvis.kernels.convolution import FORMS

MODES = ("blocks", "growth", "window", "resolution", "roofline")
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
    convolution: str
    output: str | None
    seed: int
    precision: str

    @classmethod
    def from_keys(cls, keys: Mapping[str, Any]) -> Settings:
        """Read and check the plain configuration.

        Raises:
            UserError: a value that is not allowed.
        """
        optimise = keys["optimise"]
        warmup = keys["warmup"]
        return cls(
            mode=values.one_of("mode", keys["mode"], MODES),
            size=values.size("size", keys["size"]),
            blocks=values.whole("blocks", keys["blocks"], 1),
            warmup=None if warmup is None else values.whole("warmup", warmup, 0),
            repeats=values.whole("repeats", keys["repeats"], 1),
            weights=values.one_of("weights", keys["weights"], WEIGHTS),
            growth=tuple(sorted(_wholes("growth", keys["growth"], 2))),
            windows=_wholes("windows", keys["windows"], 1),
            sizes=tuple(
                values.size("sizes", size) for size in values.several("sizes", keys["sizes"])
            ),
            compare=None if keys["compare"] is None else str(keys["compare"]),
            compile=None
            if optimise["compile"] is None
            else values.one_of("optimise.compile", optimise["compile"], COMPILE),
            convolution=values.one_of("optimise.convolution", optimise["convolution"], FORMS),
            attention=values.one_of("optimise.attention", optimise["attention"], ATTENTION),
            output=None if keys["output"] is None else str(keys["output"]),
            seed=values.whole("seed", keys["seed"], 0),
            precision=values.one_of("precision", keys["precision"], ("fp32", "bf16")),
        )


def _wholes(name: str, value: Any, low: int) -> tuple[int, ...]:
    return tuple(values.whole(name, item, low) for item in values.several(name, value))
