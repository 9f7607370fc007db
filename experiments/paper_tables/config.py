"""config.yaml of one table or figure: what to choose from which results, the paper's numbers, and what it claims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lvis.errors import UserError

HOLDS, FAILS, UNSEEN, NOT_RUN = "holds", "does not hold", "cannot be seen", "not yet run"
OUTCOMES = (HOLDS, FAILS, UNSEEN, NOT_RUN)
BETTER = {"higher": +1, "lower": -1}

Number = float | int | str


@dataclass(frozen=True)
class Column:
    """A metric.

    Attributes:
        keys: names in results.jsonl, the first that a row has counts; none where we have no way to measure it. Two
            with " / " between them are a quotient, as "frames / seconds".
        better: +1 where higher is better, -1 where lower is.
        unmeasured: why there is no number, for the page, where no row says so itself.
    """

    id: str
    title: str
    keys: tuple[str, ...]
    unit: str
    digits: int
    better: int
    unmeasured: str

    @property
    def heading(self) -> str:
        arrow = {1: " ↑", -1: " ↓"}[self.better]
        return self.title + (f" ({self.unit})" if self.unit else "") + arrow


@dataclass(frozen=True)
class Group:
    """One block of the table, such as a task; `columns` are the ids that it has."""

    id: str
    name: str
    select: Mapping[str, Any]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """One row of the table. `select` is None where we have no such row, and `note` says why.

    `absent` says of groups (by id) why this row can have no number there.
    """

    id: str
    name: str
    select: Mapping[str, Any] | None
    note: str
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """Something that the paper says: the row `ahead` is better than the row `behind` in a column.

    `outcome` is set where no comparison of ours can tell; `why` has one text per outcome, shown where it occurs.
    """

    text: str
    ahead: str
    behind: str
    column: str
    groups: tuple[str, ...]
    outcome: str
    why: Mapping[str, str]


@dataclass(frozen=True)
class Experiment:
    """A config.yaml, checked.

    `paper` is empty for a table that no paper has. `numbers` is the paper's: group -> row -> column -> number as
    printed. `over` names what means are over. `together` puts all groups into one table, under this heading of
    their names. `pictures` are files beside the README, shown where they are there (`picture`: a name or a list).
    """

    folder: Path
    title: str
    paper: Mapping[str, str]
    ours: str
    comparable: str
    full: str
    minutes: float
    results: tuple[Path, ...]
    clips: tuple[str, ...]
    select: Mapping[str, Any]
    columns: Mapping[str, Column]
    groups: tuple[Group, ...]
    rows: tuple[Line, ...]
    numbers: Mapping[str, Mapping[str, Mapping[str, Number]]]
    claims: tuple[Claim, ...]
    more: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    notes: str = ""
    over: str = "clips"
    together: str = ""
    pictures: tuple[str, ...] = ()

    def paper_number(self, group: str, row: str, column: str) -> Number | None:
        return self.numbers.get(group, {}).get(row, {}).get(column)


_KEYS = {
    "title", "paper", "ours", "comparable", "full", "minutes", "results", "clips", "select", "columns", "groups",
    "rows", "numbers", "claims", "more", "notes", "over", "together", "picture",
}  # fmt: skip
_REQUIRED = (
    "title",
    "ours",
    "comparable",
    "full",
    "minutes",
    "results",
    "columns",
    "rows",
)


def load_experiment(path: Path) -> Experiment:
    """Read and check a config.yaml.

    Raises:
        UserError: unreadable YAML, a key that is missing or not ours, a row, group or column that nobody defines.
    """
    try:
        raw: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path} holds no keys; see the other config.yaml in experiments/")
    _known(path, "", raw, _KEYS)
    missing = [key for key in _REQUIRED if raw.get(key) in (None, "")]
    if missing:
        raise UserError(f"{path} has no {missing[0]}; every table needs one")
    paper = raw.get("paper") or {}
    _known(path, "paper.", paper, {"name", "where", "setup"})
    columns = {key: _column(path, key, value) for key, value in raw["columns"].items()}
    groups = tuple(_group(path, value, columns) for value in raw.get("groups") or [{"id": "all"}])
    rows = tuple(_line(path, value, groups) for value in raw["rows"])
    experiment = Experiment(
        folder=path.parent,
        title=raw["title"],
        paper={"setup": "", **paper} if paper else {},
        ours=_text(raw["ours"]),
        comparable=_text(raw["comparable"]),
        full=raw["full"].strip(),
        minutes=float(raw["minutes"]),
        results=tuple(path.parent / name for name in raw["results"]),
        clips=tuple(raw.get("clips") or ()),
        select=raw.get("select") or {},
        columns=columns,
        groups=groups,
        rows=rows,
        numbers=_numbers(path, raw.get("numbers") or {}, groups, rows, columns),
        claims=tuple(_claim(path, value, groups, rows, columns) for value in raw.get("claims") or ()),
        more=tuple(raw.get("more") or ()),
        notes=(raw.get("notes") or "").strip(),
        over=raw.get("over", "clips"),
        together=raw.get("together", ""),
        pictures=_names(raw.get("picture") or []),
    )  # fmt: skip
    return experiment


def _column(path: Path, name: str, raw: Any) -> Column:
    _known(path, f"columns.{name}.", raw, {"title", "from", "unit", "digits", "better", "unmeasured"})  # fmt: skip
    if raw.get("better") not in BETTER:
        raise UserError(
            f"{path}: columns.{name}.better={raw.get('better')}; give one of {', '.join(BETTER)}"
        )
    keys = raw.get("from") or ()
    keys = (keys,) if isinstance(keys, str) else tuple(keys)
    return Column(
        name, raw.get("title", name), keys, raw.get("unit", ""), int(raw.get("digits", 2)),
        BETTER[raw["better"]], raw.get("unmeasured", ""),
    )  # fmt: skip


def _group(path: Path, raw: Any, columns: Mapping[str, Column]) -> Group:
    _known(path, "groups.", raw, {"id", "name", "select", "columns"})
    wanted = tuple(raw.get("columns") or columns)
    for name in wanted:
        _defined(path, f"groups.{raw['id']}.columns", name, columns)
    return Group(raw["id"], raw.get("name", ""), raw.get("select") or {}, wanted)


def _line(path: Path, raw: Any, groups: Sequence[Group]) -> Line:
    _known(path, "rows.", raw, {"id", "name", "select", "note", "absent"})
    select, note = raw.get("select"), raw.get("note", "")
    if select is None and not note:
        raise UserError(f"{path}: the row {raw['id']} selects nothing; say why in its note")
    absent = {key: _text(text) for key, text in (raw.get("absent") or {}).items()}
    for key in absent:
        _defined(path, f"rows.{raw['id']}.absent", key, {group.id: None for group in groups})
    return Line(raw["id"], raw.get("name", raw["id"]), select, note, absent)


def _claim(
    path: Path,
    raw: Any,
    groups: Sequence[Group],
    rows: Sequence[Line],
    columns: Mapping[str, Column],
) -> Claim:
    _known(path, "claims.", raw, {"text", "ahead", "behind", "column", "groups", "outcome", "why"})
    outcome = raw.get("outcome", "")
    why = {key: _text(text) for key, text in (raw.get("why") or {}).items()}
    for key in (*why, *([outcome] if outcome else [])):
        _defined(path, "an outcome of a claim", key, dict.fromkeys(OUTCOMES))
    names = tuple(group.id for group in groups)
    wanted = tuple(raw.get("groups") or names)
    if not outcome:
        for key in ("ahead", "behind"):
            _defined(path, f"claims.{key}", raw.get(key), {row.id: None for row in rows})
        _defined(path, "claims.column", raw.get("column"), columns)
        for name in wanted:
            _defined(path, "claims.groups", name, dict.fromkeys(names))
    elif outcome not in why:
        raise UserError(f"{path}: the claim '{raw['text']}' {outcome}; say why")
    return Claim(
        _text(raw["text"]), raw.get("ahead", ""), raw.get("behind", ""), raw.get("column", ""),
        wanted, outcome, why,
    )  # fmt: skip


def _numbers(
    path: Path,
    raw: Mapping[str, Mapping[str, Any]],
    groups: Sequence[Group],
    rows: Sequence[Line],
    columns: Mapping[str, Column],
) -> dict[str, dict[str, dict[str, Number]]]:
    of_group = {group.id: group.columns for group in groups}
    found: dict[str, dict[str, dict[str, Number]]] = {}
    for group, lines in raw.items():
        _defined(path, "numbers", group, of_group)
        for row, values in lines.items():
            _defined(path, f"numbers.{group}", row, {line.id: None for line in rows})
            names = of_group[group]
            if isinstance(values, list):
                if len(values) != len(names):
                    raise UserError(
                        f"{path}: numbers.{group}.{row} has {len(values)} numbers for the {len(names)} columns "
                        f"{', '.join(names)}; write null where the paper has none"
                    )
                values = dict(zip(names, values, strict=True))
            for name in values:
                _defined(path, f"numbers.{group}.{row}", name, columns)
            kept = {name: value for name, value in values.items() if value is not None}
            found.setdefault(group, {})[row] = kept
    return found


def _names(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _known(path: Path, place: str, raw: Any, keys: set[str]) -> None:
    unknown = [str(key) for key in raw if key not in keys]
    if unknown:
        raise UserError(
            f"{path}: {place}{unknown[0]} is not a key; there are {', '.join(sorted(keys))}"
        )


def _defined(path: Path, place: str, name: Any, names: Mapping[str, Any]) -> None:
    if name not in names:
        raise UserError(f"{path}: {place} names {name}; there are {', '.join(names)}")


def _text(raw: str) -> str:
    return " ".join(raw.split())
