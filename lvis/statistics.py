"""Means over clips with their uncertainty, and differences that are paired by clip."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from scipy.stats import t as student_t


@dataclass(frozen=True)
class Interval:
    """A mean over `count` clips and half the width of its confidence interval (None for one clip)."""

    mean: float
    half: float | None
    count: int

    def show(self, digits: int, sign: bool = False) -> str:
        mean = f"{self.mean:{'+' if sign else ''}.{digits}f}"
        return mean if self.half is None else f"{mean} ± {self.half:.{digits}f}"

    @property
    def excludes_zero(self) -> bool:
        return self.half is not None and abs(self.mean) > self.half


def interval(values: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Student's t interval of the mean, clips being independent draws; None of no values."""
    if not values:
        return None
    mean = fmean(values)
    if len(values) < 2:
        return Interval(mean, None, len(values))
    quantile = student_t.ppf((1 + confidence) / 2, len(values) - 1)
    return Interval(mean, float(quantile) * stdev(values) / len(values) ** 0.5, len(values))


def by_clip(rows: Iterable[Mapping[str, Any]], column: str) -> dict[str, float]:
    """Clip -> value, for rows that have a number; of one clip's rows the last counts."""
    latest = {row["clip"]: row.get(column) for row in rows}
    return {clip: value for clip, value in latest.items() if value is not None}


def paired(
    first: Mapping[Any, float], second: Mapping[Any, float], confidence: float = 0.95
) -> Interval | None:
    """first - second over the clips of both: what all clips share, their difficulty, drops out."""
    clips = [clip for clip in first if clip in second]
    return interval([first[clip] - second[clip] for clip in clips], confidence)
