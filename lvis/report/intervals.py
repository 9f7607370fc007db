"""Means over clips with Student's t intervals, and paired differences between two methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import t as student_t


@dataclass(frozen=True)
class Estimate:
    """A mean over `count` clips; `half` is half the width of its interval, None with fewer than two clips."""

    mean: float
    half: float | None
    count: int

    @property
    def excludes_zero(self) -> bool:
        return self.half is not None and abs(self.mean) > self.half


def estimate(values: Sequence[float], confidence: float) -> Estimate:
    """Mean +- t_{n-1} s / sqrt(n), exact when clips are independent and normal.

    Args:
        values: one per clip, at least one.
        confidence: in (0, 1).
    """
    count = len(values)
    if count < 2:
        return Estimate(values[0], None, count)
    quantile = float(student_t.ppf((1 + confidence) / 2, count - 1))
    return Estimate(fmean(values), quantile * stdev(values) / count**0.5, count)


def paired(
    of: Mapping[str, float], reference: Mapping[str, float], confidence: float
) -> Estimate | None:
    """The mean of `of` minus `reference` over the clips that both have; None where they share none.

    The difference between clips, most of the spread, cancels, so this interval can exclude zero where those of the
    two means overlap.
    """
    differences = [value - reference[clip] for clip, value in of.items() if clip in reference]
    return estimate(differences, confidence) if differences else None
