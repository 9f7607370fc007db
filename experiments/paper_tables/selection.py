"""The rows of results files that one table shows, and their means."""

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from lvis.evaluate.table import Row, read_rows
from lvis.statistics import Interval, interval
from paper_tables.config import Column, Experiment, Group, Line

QUOTIENT = " / "
CONFIDENCE = 0.95
# what one value belongs to: of several rows of one unit the last counts
_UNIT = ("clips", "task", "clip", "seed")
_Unit = tuple[Any, ...]


class Selection:
    """An experiment's rows, out of its results files and the sets.jsonl beside them; no file, no rows."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        files = [
            file for path in experiment.results for file in (path, path.with_name("sets.jsonl"))
        ]
        rows = [row for file in files for row in read_rows(file)]
        self.rows = [row for row in rows if matches(row, experiment.select)]

    def clip_sets(self) -> list[str]:
        """The configured sets of clips that have rows; [""] where the results know none."""
        if not self.experiment.clips:
            return [""]
        chosen = [row for row in self.rows if self._shown(row)]
        return [name for name in self.experiment.clips if any(row.get("clips") == name for row in chosen)]  # fmt: skip

    def of(self, clips: str, group: Group, line: Line) -> list[Row]:
        """The rows of one line of the table."""
        if line.select is None:
            return []
        here = {"clips": clips} if clips else {}
        return [
            row
            for row in self.rows
            if all(matches(row, wanted) for wanted in (here, group.select, line.select))
        ]

    def used(self) -> list[Row]:
        """The rows that any line shows."""
        return [row for row in self.rows if self._shown(row)]

    def values(self, clips: str, group: Group, line: Line, column: Column) -> dict[_Unit, float]:
        """Unit (clip and what it was measured by) -> its value; without those that have none."""
        latest = {tuple(row.get(key) for key in _UNIT): row for row in self.of(clips, group, line)
                  if _value(row, column) is not None}  # fmt: skip
        found = {unit: _value(row, column) for unit, row in latest.items()}
        return {unit: value for unit, value in found.items() if value is not None}

    def mean(self, clips: str, group: Group, line: Line, column: Column) -> Interval | None:
        """Mean over clips with its 95 % interval; None where nothing is measured."""
        return interval(list(self.values(clips, group, line, column).values()), CONFIDENCE)

    def unmeasured(self, column: Column) -> str:
        """Why a column has no number: what the rows say, else what the configuration says."""
        for row in self.used():
            for key in column.keys:
                reason = (row.get("unmeasured") or {}).get(key)
                if reason:
                    return str(reason)
        return column.unmeasured

    def _shown(self, row: Row) -> bool:
        return any(
            line.select is not None and matches(row, group.select) and matches(row, line.select)
            for group in self.experiment.groups
            for line in self.experiment.rows
        )


def matches(row: Row, select: Mapping[str, Any]) -> bool:
    """Whether a row has the wanted values; a list names alternatives."""
    return all(
        row.get(key) in wanted if isinstance(wanted, list) else row.get(key) == wanted
        for key, wanted in select.items()
    )


def provenance(rows: Iterable[Row], key: str) -> list[str]:
    """The different values of a key that says where rows come from, in order; empty where none recorded it."""
    return sorted({str(row[key]) for row in rows if row.get(key)})


def _value(row: Row, column: Column) -> float | None:
    for key in column.keys:
        value = _quotient(row, *key.split(QUOTIENT)) if QUOTIENT in key else row.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
            return float(value)
    return None


def _quotient(row: Row, upper: str, lower: str) -> float | None:
    above, below = row.get(upper), row.get(lower)
    return above / below if above and below else None
