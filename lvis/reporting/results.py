"""Rows of one or several results.jsonl, sorted into sections that may be compared and the entries in them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from lvis.data.frames import natural_key
from lvis.errors import UserError
from lvis.evaluation.table import Row, read_rows
from lvis.reporting.quantities import RATE, Quantity, is_known, quantity

# what tells a row apart; every other number in it is a metric
ABOUT = ("clips", "clip", "task", "vae", "label", "solver", "method", "seed", "frames", "size")
FOLDER, RUN = "_folder", "_run"
# methods in the order of a story: what is simple first, the ceiling last; others in between
FIRST, LAST = ("pinv", "D(E(y))"), ("D(E(x))",)


@dataclass(frozen=True)
class Entry:
    """One line of a section's table: a method, and the settings that it was run with.

    Attributes:
        values: metric -> clip -> its value, a mean over seeds where there are several.
        rows: clip -> its last row.
    """

    method: str
    settings: tuple[str, ...]
    values: Mapping[str, Mapping[str, float]]
    rows: Mapping[str, Row]

    @property
    def name(self) -> str:
        return " · ".join((self.method, *self.settings))


@dataclass(frozen=True)
class Section:
    """What may be compared: the same clips at the same size and length, measured by the same task."""

    clips: str
    task: str
    frames: int | None
    size: tuple[int, ...]
    entries: list[Entry] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.task}, {self.clips} clips"

    @property
    def clip_names(self) -> list[str]:
        return sorted({clip for e in self.entries for clip in e.rows}, key=natural_key)


def load(folder: Path) -> list[Row]:
    """The rows of every results.jsonl in `folder` and below it; each knows its folder and, of several, its run.

    Raises:
        UserError: no such folder, no results in it, or a row that lacks what tells it apart.
    """
    if not folder.is_dir():
        raise UserError(f"results={folder} is no folder; give the output of lvis.evaluate")
    files = sorted(folder.rglob("results.jsonl"))
    rows: list[Row] = []
    for file in files:
        run = file.parent.relative_to(folder).as_posix() if len(files) > 1 else ""
        for row in read_rows(file):
            missing = [key for key in ("clip", "task", "method") if key not in row]
            if missing:
                raise UserError(
                    f"{file} has a row without {missing[0]}; give the output of lvis.evaluate"
                )
            about = {"clips": "", "vae": "", "label": "", "seed": None} | row
            rows.append({**about, FOLDER: file.parent, RUN: "" if run == "." else run})
    if not rows:
        raise UserError(f"results={folder} has no rows of results; run lvis.evaluate first")
    return rows


def quantities(rows: Iterable[Row]) -> list[Quantity]:
    """The numeric columns: quality first, then speed; the rate is made of frames and seconds.

    A metric that we know stays a column where no row has a number for it: it is unmeasured, not absent.
    """
    names: dict[str, None] = {}
    for row in rows:
        names |= dict.fromkeys(
            key
            for key, value in row.items()
            if _is_metric(key, value) or (value is None and key not in ABOUT and is_known(key))
        )
    if "seconds" in names:
        names[RATE] = None
    return sorted((quantity(name) for name in names), key=lambda q: (q.speed, q.name != RATE))


def sections(rows: Iterable[Row]) -> list[Section]:
    """The sections in the order of their tasks' first rows."""
    rows = list(rows)
    groups: dict[tuple, dict[tuple, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        place = (row["clips"], row["task"], row.get("frames"), tuple(row.get("size") or ()))
        groups[place][row["method"], row[RUN], row["label"], row["vae"]].append(row)
    return [Section(*place, entries=_entries(found)) for place, found in groups.items()]


def _entries(found: Mapping[tuple, list[Row]]) -> list[Entry]:
    """Entries in order; those of one method that agree in every quality on every clip are one.

    A pseudo-inverse has no VAE and a ceiling no solver's settings, so they come again with each run.
    """
    measured = {key: _values(rows) for key, rows in found.items()}
    kept: list[tuple] = []
    merged: dict[tuple, list[tuple]] = {}
    for key in found:
        same = next((k for k in kept if k[0] == key[0] and _agree(measured[k], measured[key])), key)
        merged.setdefault(same, []).append(key)
        if same == key:
            kept.append(key)
    # a setting is worth a word where it differs within the section
    worth = [len({key[place] for key in found}) > 1 for place in (1, 2, 3)]

    def settings(key: tuple) -> tuple[str, ...]:
        words = []
        for place, differs in enumerate(worth, start=1):
            names = {same[place] for same in merged[key]}
            if differs and len(names) == 1 and key[place]:
                words.append(str(key[place]))
        return tuple(words)

    entries = [
        Entry(key[0], settings(key), measured[key], {row["clip"]: row for row in found[key]})
        for key in kept
    ]
    return sorted(entries, key=lambda entry: _rank(entry.method))


def _rank(method: str) -> tuple[int, int]:
    if method in FIRST:
        return 0, FIRST.index(method)
    return (2, LAST.index(method)) if method in LAST else (1, 0)


def _values(rows: list[Row]) -> dict[str, dict[str, float]]:
    # a run that was repeated counts once, its last row; several seeds of one clip are no further clips
    latest = {(row["clip"], row["seed"]): row for row in rows}
    collected: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in latest.values():
        for name, value in row.items():
            if _is_metric(name, value):
                collected[name][row["clip"]].append(float(value))
        if row.get("frames") and row.get("seconds"):
            collected[RATE][row["clip"]].append(row["frames"] / row["seconds"])
    return {
        name: {clip: fmean(values) for clip, values in clips.items()}
        for name, clips in collected.items()
    }


def _agree(first: Mapping[str, Mapping], second: Mapping[str, Mapping]) -> bool:
    names = {name for name in (*first, *second) if not quantity(name).speed}
    return all(first.get(name) == second.get(name) for name in names)


def _is_metric(name: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return name not in ABOUT and number and math.isfinite(value)
