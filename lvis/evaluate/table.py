"""Rows of results.jsonl, one per clip and method, summed up as a Markdown table."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from lvis.errors import UserError
from lvis.markdown import markdown_table

Row = dict[str, Any]
# what the tables read of every row
NEEDED = ("clips", "clip", "task", "vae", "label", "method", "psnr", "ssim")


def read_rows(path: Path) -> list[Row]:
    """The rows written so far; a last line cut short by a crash is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def own_rows(path: Path) -> list[Row]:
    """`read_rows` of a file that must be lvis.evaluate's.

    Raises:
        UserError: an unreadable file, or a row without what the tables need.
    """
    try:
        rows = read_rows(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UserError(f"{path} cannot be read: {reason}; choose another output") from error
    for row in rows:
        known = row if isinstance(row, dict) else {}
        missing = [key for key in NEEDED if key not in known]
        if missing:
            raise UserError(
                f"{path} has a row without {missing[0]}, which lvis.evaluate has not written; choose another output"
            )
    return rows


def summary(rows: Iterable[Row], methods: Sequence[str]) -> str:
    """PSNR / SSIM, mean over clips, a line for each (clips, task, vae) and one column per method.

    A student's gain over D(E(y)) is paired: a mean over clips of the difference, with its standard error. Rows of
    one clip and method count once, the last of them.
    """
    groups: dict[tuple[str, str, str], dict[str, list[Row]]] = defaultdict(
        lambda: defaultdict(list)
    )
    latest = {
        (row["clips"], row["task"], row["vae"], row["method"], row["clip"]): row for row in rows
    }
    for row in latest.values():
        groups[row["clips"], row["task"], row["vae"]][row["method"]].append(row)
    gains = ["student - D(E(y))"] if "student" in methods else []
    head = ["clips", "task", "vae", "n", *methods, *gains]
    lines = []
    for (clips, task, vae), found in sorted(groups.items()):
        cells = [_cell(found.get(method, [])) for method in methods]
        number = max(len(group) for group in found.values())
        lines.append([clips, task, vae, str(number), *cells, *[_gain(found) for _ in gains]])
    return markdown_table(head, lines) + "\n"


def _cell(rows: list[Row]) -> str:
    if not rows:
        return "-"
    return f"{fmean(r['psnr'] for r in rows):.2f} / {fmean(r['ssim'] for r in rows):.3f}"


def _gain(found: dict[str, list[Row]]) -> str:
    encoded = {row["clip"]: row["psnr"] for row in found.get("D(E(y))", [])}
    gains = [
        row["psnr"] - encoded[row["clip"]]
        for row in found.get("student", [])
        if row["clip"] in encoded
    ]
    if not gains:
        return "-"
    error = f" +- {stdev(gains) / len(gains) ** 0.5:.2f}" if len(gains) > 1 else ""
    return f"{fmean(gains):+.2f}{error} dB"
