"""Lists of videos with captions: text, CSV, JSON, JSON lines."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lvis.errors import UserError

TABLE_SUFFIXES = (".csv", ".json", ".jsonl", ".txt", ".tsv")
# the names that Open-Sora, MixKit, Pexels and Panda metadata give to the two columns
PATH_COLUMNS = ("path", "video", "video_path", "file", "file_name", "filename", "relpath")
CAPTION_COLUMNS = ("caption", "cap", "text", "prompt", "description", "title")


def read_table(table: Path) -> list[tuple[str, str]]:
    """(path, caption) of each line of a list; the path is as written, the caption "" if there is none.

    A .txt line is a path, or a path, a tab and a caption. The other kinds name their columns.

    Raises:
        UserError: unreadable, not of its kind, or without a column of paths; names the line.
    """
    if table.suffix.lower() not in TABLE_SUFFIXES:
        raise UserError(
            f"{table} is not a list of videos; give one that ends in {', '.join(TABLE_SUFFIXES)}"
        )
    try:
        # metadata exported by spreadsheets begins with a byte order mark
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{table} cannot be read ({error}); give it as UTF-8 text") from error
    if table.suffix.lower() == ".txt":
        lines = (line.split("\t", 1) for line in text.splitlines() if line.strip())
        return [(parts[0].strip(), parts[1].strip() if len(parts) > 1 else "") for parts in lines]
    rows = list(_rows(table, text))
    return [_path_and_caption(table, number, row) for number, row in enumerate(rows, 1)]


def has_paths(table: Path) -> bool:
    """Whether a file is a list of videos, so that other JSON and text files are skipped."""
    if table.suffix.lower() == ".txt":
        return False
    try:
        return bool(read_table(table))
    except UserError:
        return False


def _rows(table: Path, text: str) -> Iterator[dict[str, Any]]:
    suffix = table.suffix.lower()
    try:
        if suffix in (".csv", ".tsv"):
            delimiter = "\t" if suffix == ".tsv" else ","
            yield from csv.DictReader(text.splitlines(), delimiter=delimiter)
        elif suffix == ".jsonl":
            yield from (json.loads(line) for line in text.splitlines() if line.strip())
        else:
            document = json.loads(text)
            yield from document if isinstance(document, list) else []
    except (csv.Error, ValueError) as error:
        raise UserError(f"{table} is not valid {suffix[1:]} ({error}); fix it") from error


def _path_and_caption(table: Path, number: int, row: Any) -> tuple[str, str]:
    cells = {str(k).strip().lower(): v for k, v in row.items()} if isinstance(row, dict) else {}
    path = next((cells[name] for name in PATH_COLUMNS if cells.get(name)), None)
    if not isinstance(path, str):
        raise UserError(
            f"{table}: entry {number} has no path; name its column one of {', '.join(PATH_COLUMNS)}"
        )
    caption = next((cells[name] for name in CAPTION_COLUMNS if cells.get(name)), "")
    if isinstance(caption, list):
        # Open-Sora-Plan gives several captions per video
        caption = caption[0] if caption else ""
    return path.strip(), str(caption).strip()
