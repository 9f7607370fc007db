"""Rows of one or several results.jsonl, sorted into sections that may be compared and the entries in them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from lvis.data.numbering import natural_key
from lvis.errors import UserError
from lvis.evaluate.table import Row, read_rows
from lvis.metrics import Metric
from lvis.report.quantities import RATE, is_known, quantity

# what identifies a row; every other number in it is a metric
ABOUT = (
    "clips", "clip", "number", "task", "vae", "label", "solver", "method", "seed", "frames", "size",
)  # fmt: skip
_Place = tuple[str, str, int | None, tuple[int, ...]]
FOLDER, RUN = "_folder", "_run"
# a run's method, folder, label and VAE; and the places of the last three that may tell entries of a method apart
_Key = tuple[str, str, str, str]
TELLING = ((), (2,), (3,), (1,), (2, 3), (1, 2), (1, 3), (1, 2, 3))
# methods in the order of a story: what is simple first, the ceiling last; others in between
FIRST, LAST = ("pinv", "D(E(y))"), ("D(E(x))",)


@dataclass(frozen=True)
class Entry:
    """One line of a section's table: a method, and the settings that it was run with.

    Attributes:
        values: metric -> clip -> its value, a mean over seeds where there are several.
        rows: clip -> its rows, of every run that this entry stands for.
    """

    method: str
    settings: tuple[str, ...]
    values: Mapping[str, Mapping[str, float]]
    rows: Mapping[str, list[Row]]

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
        raise UserError(f"results={folder} is not a folder; give the output of lvis.evaluate")
    files = sorted(folder.rglob("results.jsonl"))
    rows: list[Row] = []
    for file in files:
        run = file.parent.relative_to(folder).as_posix() if len(files) > 1 else ""
        for row in read_rows(file):
            known = row if isinstance(row, dict) else {}
            missing = [key for key in ("clip", "task", "method") if key not in known]
            if missing:
                raise UserError(
                    f"{file} has a row without {missing[0]}; give the output of lvis.evaluate"
                )
            about = {"clips": "", "vae": "", "label": "", "seed": None} | row
            rows.append({**about, FOLDER: file.parent, RUN: "" if run == "." else run})
    if not rows:
        raise UserError(f"results={folder} has no rows of results; run lvis.evaluate first")
    return rows


def quantities(rows: Iterable[Row]) -> list[Metric]:
    """The numeric columns: quality first, then speed; frames and seconds make a rate, which takes their place.

    A metric that we know stays a column where no row has a number for it: it is unmeasured, not absent.
    """
    names: dict[str, None] = {}
    rows = list(rows)
    for row in rows:
        names |= dict.fromkeys(
            key
            for key, value in row.items()
            if _is_metric(key, value) or (value is None and key not in ABOUT and is_known(key))
        )
    if any(_rate(row) for row in rows):
        names.pop("seconds")
        names[RATE] = None
    return sorted((quantity(name) for name in names), key=lambda q: (q.is_speed, q.name != RATE))


def sections(rows: Iterable[Row]) -> list[Section]:
    """The sections in the order of their tasks' first rows."""
    rows = list(rows)
    groups: dict[_Place, dict[_Key, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        place: _Place = (
            row["clips"],
            row["task"],
            row.get("frames"),
            tuple(row.get("size") or ()),
        )
        groups[place][row["method"], row[RUN], row["label"], row["vae"]].append(row)
    merged = {place: _merged(found) for place, found in groups.items()}
    telling = _telling(list(merged.values()))
    return [
        Section(*place, _entries(found, merged[place], telling)) for place, found in groups.items()
    ]


def _merged(found: Mapping[_Key, list[Row]]) -> dict[_Key, list[_Key]]:
    """Runs of one method that agree in every quality on the clips that they share, under the first of them.

    A pseudo-inverse has no VAE and a ceiling no solver's settings, so they come again with each run.
    """
    measured = {key: _values(rows) for key, rows in found.items()}
    merged: dict[_Key, list[_Key]] = {}
    for key in found:
        same = next(
            (k for k in merged if k[0] == key[0] and _agree(measured[k], measured[key])), key
        )
        merged.setdefault(same, []).append(key)
    return merged


def _entries(
    found: Mapping[_Key, list[Row]],
    merged: Mapping[_Key, list[_Key]],
    telling: Mapping[str, Sequence[int]],
) -> list[Entry]:
    entries = []
    for key, keys in merged.items():
        by_clip: dict[str, list[Row]] = defaultdict(list)
        for row in (row for same in keys for row in found[same]):
            by_clip[row["clip"]].append(row)
        values = _union([_values(found[same]) for same in keys])
        entries.append(Entry(key[0], _words(keys, telling[key[0]]), values, by_clip))
    return sorted(entries, key=lambda entry: _rank(entry.method))


def _telling(sections: Sequence[Mapping[_Key, list[_Key]]]) -> dict[str, tuple[int, ...]]:
    """Of each method, the fewest of label, VAE and run that tell its entries apart in every section.

    One choice for the whole report: an entry has the same name wherever it comes.
    """
    return {
        method: next(
            (
                places
                for places in TELLING
                if all(_distinct(merged, method, places) for merged in sections)
            ),
            TELLING[-1],
        )
        for method in {key[0] for merged in sections for key in merged}
    }


def _distinct(merged: Mapping[_Key, list[_Key]], method: str, places: Sequence[int]) -> bool:
    words = [_words(keys, places) for key, keys in merged.items() if key[0] == method]
    return len(set(words)) == len(words)


def _words(keys: Sequence[_Key], places: Sequence[int]) -> tuple[str, ...]:
    """What an entry is called beside its method; one of several labels, VAEs or runs names none of these."""
    return tuple(
        str(keys[0][place])
        for place in places
        if keys[0][place] and len({key[place] for key in keys}) == 1
    )


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
        if (rate := _rate(row)) is not None:
            collected[RATE][row["clip"]].append(rate)
    return {
        name: {clip: fmean(values) for clip, values in clips.items()}
        for name, clips in collected.items()
    }


def _agree(first: Mapping[str, Mapping], second: Mapping[str, Mapping]) -> bool:
    shared = [
        (first[name][clip], second[name][clip])
        for name in first.keys() & second.keys()
        if not quantity(name).is_speed
        for clip in first[name].keys() & second[name].keys()
    ]
    return bool(shared) and all(one == other for one, other in shared)


def _union(measured: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    union: dict[str, dict[str, float]] = defaultdict(dict)
    for values in reversed(measured):
        for name, clips in values.items():
            union[name] |= clips
    return union


def _rate(row: Row) -> float | None:
    frames, seconds = row.get("frames"), row.get("seconds")
    return frames / seconds if frames and seconds else None


def _is_metric(name: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return name not in ABOUT and number and math.isfinite(value)
