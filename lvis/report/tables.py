"""The tables of a section: means with intervals, paired differences, clip by clip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lvis.metrics import Metric
from lvis.metrics.registry import ZERO
from lvis.report.results import LAST, Entry, Section
from lvis.statistics import Interval, interval, paired


@dataclass(frozen=True)
class Cell:
    """What a table shows at one place; `mark` is "best", "better", "worse" or nothing."""

    text: str
    half: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Line:
    name: str
    count: int
    cells: list[Cell]


def means(section: Section, columns: Sequence[Metric], confidence: float) -> list[Line]:
    """One line per entry: mean and interval of every column. The best of a column is marked, but for the ceiling."""
    found = {
        entry.name: {q.name: _mean(entry, q, confidence) for q in columns}
        for entry in section.entries
    }
    best = {q.name: _best(section, q, found) for q in columns}
    return [
        Line(
            entry.name,
            len(entry.rows),
            [
                _cell(found[entry.name][q.name], q, "best" if best[q.name] == entry.name else "")
                for q in columns
            ],
        )
        for entry in section.entries
    ]


def differences(
    section: Section, reference: Entry, columns: Sequence[Metric], confidence: float
) -> list[Line]:
    """One line per entry but `reference`: its paired difference to it, marked where the interval excludes zero."""
    lines = []
    for entry in section.entries:
        if entry is reference:
            continue
        cells = []
        for q in columns:
            of, to = entry.values.get(q.name, {}), reference.values.get(q.name, {})
            difference = paired(of, to, confidence)
            mark = ""
            if difference is not None and difference.excludes_zero and q.better:
                mark = "better" if difference.mean * q.better > 0 else "worse"
            cells.append(_cell(difference, q, mark, sign="+"))
        shared = len(entry.rows.keys() & reference.rows.keys())
        lines.append(Line(entry.name, shared, cells))
    return lines


def clip_lines(section: Section, clip: str, columns: Sequence[Metric]) -> list[Line]:
    """A line for each entry that has this clip, with its own values."""
    return [
        Line(
            entry.name,
            1,
            [
                Cell(q.show(value))
                if (value := entry.values.get(q.name, {}).get(clip)) is not None
                else Cell("–")
                for q in columns
            ],
        )
        for entry in section.entries
        if clip in entry.rows
    ]


def _mean(entry: Entry, column: Metric, confidence: float) -> Interval | None:
    values = list(entry.values.get(column.name, {}).values())
    return interval(values, confidence)


def _best(
    section: Section, column: Metric, found: Mapping[str, Mapping[str, Interval | None]]
) -> str | None:
    means = {
        entry.name: one.mean
        for entry in section.entries
        if entry.method not in LAST and (one := found[entry.name][column.name]) is not None
    }
    if not (column.better or column.direction == ZERO) or len(means) < 2:
        return None
    return max(means, key=lambda name: column.score(means[name]))


def _cell(value: Interval | None, column: Metric, mark: str, sign: str = "") -> Cell:
    if value is None:
        return Cell("–")
    digits = column.digits_of(value.mean)
    text = f"{value.mean:{sign}.{digits}f}".replace("-", "−")
    return Cell(text, "" if value.half is None else f"± {value.half:.{digits}f}", mark)
