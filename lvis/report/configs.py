"""The settings of the runs, and what differs between them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvis.evaluate.table import Row
from lvis.report.results import FOLDER, RUN

# where things lie is no setting
_PLACES = ("output", "hydra")


@dataclass(frozen=True)
class Differences:
    """`runs` are the columns; a line of `lines` is a key and its value in each (None where it has none).

    `same` counts the keys that all runs agree in.
    """

    runs: list[str]
    lines: list[tuple[str, list[str | None]]]
    same: int


def differences(rows: Iterable[Row]) -> Differences | None:
    """Over the configurations beside the results; None when there are fewer than two."""
    found: dict[Path, dict[str, Row]] = {}
    for row in rows:
        for path in (
            row[FOLDER] / "configs" / f"{row.get('solver')}.json",
            row[FOLDER] / "config.json",
        ):
            if path.is_file():
                found.setdefault(path, {})[f"{row[RUN]}{row['label']}{row['vae']}"] = row
                break
    settings = {path: flat(_read(path)) for path in found}
    if len(settings) < 2:
        return None
    keys = list(dict.fromkeys(key for one in settings.values() for key in one))
    keys = [key for key in keys if key.split(".")[0] not in _PLACES]
    lines = []
    for key in keys:
        values = [one.get(key) for one in settings.values()]
        if len(set(values)) > 1:
            lines.append((key, values))
    return Differences(
        [_name(path, list(of.values())) for path, of in found.items()],
        lines,
        len(keys) - len(lines),
    )


def flat(settings: Any, prefix: str = "") -> dict[str, str]:
    """Dotted keys, as one writes them on the command line, and their values as JSON."""
    if isinstance(settings, dict) and settings:
        parts = [flat(value, f"{prefix}{key}.") for key, value in settings.items()]
        return {key: value for part in parts for key, value in part.items()}
    return {
        prefix.removesuffix("."): settings if isinstance(settings, str) else json.dumps(settings)
    }


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _name(path: Path, rows: list[Row]) -> str:
    """What the runs with this configuration have in common, in the words of the tables."""
    words = []
    for key in (RUN, "label", "vae"):
        values = sorted({row[key] for row in rows})
        if len(values) == 1 and values[0]:
            words.append(values[0])
    return " · ".join([*words, path.stem if path.stem != "config" else ""]).strip(" ·")
