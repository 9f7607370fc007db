"""metrics_<label>.md and differences.md: every column of a protocol with intervals, and solvers against each other."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lvis.evaluate.methods import CEILING, MEASURED, METHODS
from lvis.evaluate.table import Row
from lvis.markdown import markdown_table
from lvis.metrics import Metric
from lvis.metrics.registry import SET
from lvis.statistics import by_clip, interval, paired

UNMEASURED = "unmeasured"
MARKS = (MEASURED, CEILING)


def protocol_tables(
    rows: Iterable[Row], sets: Iterable[Row], columns: Mapping[str, Metric], confidence: float
) -> str:
    """A table for each (clips, task, vae): one line per method, one column per metric of the protocol.

    Args:
        rows: of results.jsonl, of one label and protocol.
        sets: of sets.jsonl, of the same.
        columns: column -> metric (`Suite.columns`).
        confidence: of the intervals over clips.
    """
    groups: dict[tuple, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        groups[_cell(row)][row["method"]].append(row)
    whole = {(*_cell(row), row["method"]): row for row in sets}
    parts = []
    for cell, methods in sorted(groups.items()):
        head = ["method", "n", *(metric.heading for metric in columns.values())]
        lines, reasons = [], {}
        for method in sorted(methods, key=_place):
            found = methods[method]
            latest = {row["clip"]: row for row in found}
            of_set = whole.get((*cell, method), {})
            cells = []
            for column, metric in columns.items():
                cells.append(_number(found, of_set, column, metric, confidence))
                for row in (*latest.values(), of_set):
                    if reason := row.get("unmeasured", {}).get(column):
                        # a mark is never timed, which is no news
                        reasons[f"{column}: {reason}"] = reason != "nothing was timed"
            lines.append([method, str(len(latest)), *cells])
        notes = [f"- {note}" for note, worth in sorted(reasons.items()) if worth]
        text = f"### {' · '.join(cell)}\n\n{markdown_table(head, lines)}\n"
        parts.append(text + ("\nUnmeasured:\n\n" + "\n".join(notes) + "\n" if notes else ""))
    note = f"Mean over clips ± half of the {confidence:.0%} interval (Student's t).\n\n"
    return note + "\n".join(parts)


def differences(
    rows: Iterable[Row],
    columns: Mapping[str, Metric],
    compare_with: Mapping[str, Any],
    confidence: float,
) -> str:
    """Every solver minus the one to compare with, paired by clip; one table a (clips, task).

    Args:
        compare_with: `method`, `vae` and `label`, where null is the solver's own.
    """
    groups: dict[tuple, dict[tuple, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["method"] in MARKS:
            continue
        place = (
            row["clips"],
            row["task"],
            str(row.get("frames")),
            "x".join(map(str, row.get("size") or ())),
            str(row.get("seed")),
        )
        entry = (row["method"], row["vae"], row["label"])
        groups[place][entry].append(row)
    shown = {column: m for column, m in columns.items() if m.of != SET}
    parts = []
    for place, entries in sorted(groups.items()):
        lines = []
        for (method, vae, label), found in sorted(entries.items()):
            other = (
                compare_with.get("method") or method,
                compare_with.get("vae") or vae,
                compare_with.get("label") or label,
            )
            if other == (method, vae, label) or other not in entries:
                continue
            cells = []
            for column, metric in shown.items():
                difference = paired(
                    by_clip(found, column), by_clip(entries[other], column), confidence
                )
                star = "*" if difference and difference.excludes_zero else ""
                text = difference.show(metric.digits, sign=True) + star if difference else "-"
                cells.append(text)
            number = len({row["clip"] for row in found})
            lines.append([" · ".join((method, vae, label)), " · ".join(other), str(number), *cells])
        if lines:
            head = ["solver", "minus", "n", *(metric.heading for metric in shown.values())]
            clips, task, frames, size, seed = place
            title = f"### {task}, {clips} clips, {frames} frames, {size}, seed {seed}"
            parts.append(f"{title}\n\n{markdown_table(head, lines)}\n")
    note = (
        f"Differences paired by clip ± half of the {confidence:.0%} interval (Student's t); * the interval "
        "excludes 0, not corrected for the number of comparisons.\n\n"
    )
    return note + "\n".join(parts)


def _number(
    rows: Sequence[Row], of_set: Row, column: str, metric: Metric, confidence: float
) -> str:
    if metric.of == SET:
        value = of_set.get(column)
        count = of_set.get("clips_in_set")
        return UNMEASURED if value is None else f"{value:.{metric.digits}f} ({count} clips)"
    found = interval(list(by_clip(rows, column).values()), confidence)
    return UNMEASURED if found is None else found.show(metric.digits)


def _cell(row: Row) -> tuple[str, str, str]:
    return row["clips"], row["task"], row["vae"]


def _place(method: str) -> tuple[float, str]:
    # solvers that the order does not name come before the ceiling, which is last
    unnamed = len(METHODS) - 1.5
    return METHODS.index(method) if method in METHODS else unnamed, method
