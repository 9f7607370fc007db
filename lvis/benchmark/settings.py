"""The keys of conf/benchmark.yaml, checked before anything is loaded."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasPath, Field

from lvis.cli import values
from lvis.cli.schema import Count, CountOrNone, Keys, Seed, Whole, checked_by

Size = Annotated[tuple[int, int], checked_by(values.size, "size")]
Blocks = Annotated[Whole, Field(ge=2)]
Compile = Literal["default", "reduce-overhead", "max-autotune-no-cudagraphs"]


def _optimise(key: str) -> Any:
    return Field(validation_alias=AliasPath("optimise", key))


class Settings(Keys):
    """One run of the benchmark."""

    mode: Literal["blocks", "growth", "window", "resolution", "roofline"]
    size: Size
    blocks: Count
    warmup: CountOrNone | None
    repeats: Count
    weights: Literal["checkpoint", "random"]
    growth: Annotated[tuple[Blocks, ...], Field(min_length=1), AfterValidator(sorted)]
    windows: Annotated[tuple[Count, ...], Field(min_length=1)]
    sizes: Annotated[tuple[Size, ...], Field(min_length=1)]
    compare: str | None
    compile: Compile | None = _optimise("compile")
    convolution: Literal["auto", "direct", "taps"] = _optimise("convolution")
    attention: Literal["auto", "flash", "cudnn", "efficient", "math"] = _optimise("attention")
    output: str | None
    seed: Seed
    precision: Literal["fp32", "bf16", "fp8"]
