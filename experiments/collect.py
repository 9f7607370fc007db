"""Rows of one run into a results file beside the tables: python experiments/collect.py SOURCE TARGET WEIGHTS

Both are files of JSON lines. A row of the target stays if it was made with the same bundled weights (WEIGHTS is their
digest, written into every row) and the source has no row of the same thing. The sets.jsonl beside a results.jsonl goes
along.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lvis.evaluate.table import Row, read_rows  # noqa: E402
from lvis.files import write_text  # noqa: E402

# what a row is of; neither the settings' digest nor the numbers
THING = (
    "clips", "clip", "task", "vae", "label", "method", "protocol", "seed", "frames", "size", "prompt", "assumed",
)  # fmt: skip


def merge(target: list[Row], source: list[Row], weights: str) -> list[Row]:
    """The rows of `source`, each the last of its thing, after those of `target` that they leave standing."""
    fresh = {thing(row): {**row, "weights": weights} for row in source}
    kept = [row for row in target if row.get("weights") == weights and thing(row) not in fresh]
    return [*kept, *fresh.values()]


def thing(row: Row) -> str:
    return json.dumps([row.get(key) for key in THING])


def collect(source: Path, target: Path, weights: str) -> None:
    rows = merge(read_rows(target), read_rows(source), weights)
    if rows:
        write_text(target, "".join(json.dumps(row) + "\n" for row in rows))


def main() -> None:
    source, target, weights = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    collect(source, target, weights)
    if target.name == "results.jsonl":
        collect(source.with_name("sets.jsonl"), target.with_name("sets.jsonl"), weights)


if __name__ == "__main__":
    main()
