"""Estimated milliseconds of a steady block at 480x832 with Wan2.1-1.3B, by part and card. Nothing here is measured.

    python experiments/speed/roofline.py [ROW...]      # roofline.json and roofline.md beside this file

Each row is counted once on fake CUDA (`lvis.benchmark.roofline`), eagerly: fusing by torch.compile is not in it. Given
names of rows, only those are counted, and the others stay as they are in the file, each with its own commit.
"""

import json
import sys
from pathlib import Path
from typing import Any

from lvis.benchmark.roofline import CARDS, NOTICE, count_block, parts_of
from lvis.cli.config import compose
from lvis.markdown import markdown_table
from lvis.provenance import code_version, today

SIZE = (480, 832)
SMALL = ["model.window=9", "model.sink=3"]
ROWS = {
    "student, lean": ["solver=student", "vae=lean"],
    "student, lean, window 9": ["solver=student", "vae=lean", "model.window=9"],
    "student, lean, window 9 with sink 3": ["solver=student", "vae=lean", *SMALL],
    "student, lean, window 12 with sink 3": [
        "solver=student",
        "vae=lean",
        "model.window=12",
        "model.sink=3",
    ],
    "student, wan": ["solver=student", "vae=wan"],
    "student, tae": ["solver=student", "vae=tae"],
    "student, tae, its own encoder": ["solver=student", "vae=tae", "model.vaes.tae.encoder=null"],
    "student, tae, its own encoder, window 9 with sink 3": [
        "solver=student",
        "vae=tae",
        "model.vaes.tae.encoder=null",
        *SMALL,
    ],
    "AVIS": ["solver=avis", "vae=wan"],
    "AVIS, tae": ["solver=avis", "vae=tae"],
    "AVIS Flash": ["solver=avis_flash", "vae=wan"],
    "AVIS Flash, tae": ["solver=avis_flash", "vae=tae"],
}


def estimated(overrides: list[str]) -> dict[str, Any]:
    """One row: card -> milliseconds by part, and what does not depend on the card."""
    cfg = compose("benchmark", ["model=wan1_3b", "device=cuda", "precision=bf16", *overrides])
    counted = count_block(cfg, SIZE)
    cards: dict[str, Any] = {}
    for card in CARDS:
        parts = parts_of(counted, card)
        by_part: dict[str, float] = {}
        for part in parts:
            name = part.kind if part.stage == "transformer" else part.stage
            by_part[name] = by_part.get(name, 0.0) + part.seconds * 1e3
        cards[card] = by_part
    flash = sum(part.seconds for part in parts_of(counted, "h100", "flash")) * 1e3
    return {
        "overrides": overrides,
        "commit": code_version(),
        "date": today(),
        "frames": counted.frames,
        "peak_bytes": counted.peak,
        "ms": cards,
        "h100_flash_ms": flash,
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows as Markdown."""
    names = ["encode", "attention", "products", "elementwise", "decode"]
    lines = []
    for name, row in rows.items():
        h100 = row["ms"]["h100"]
        totals = {card: sum(row["ms"][card].values()) for card in CARDS}
        other = totals["h100"] - sum(h100.get(part, 0.0) for part in names)
        lines.append(
            [
                name,
                *(f"{h100.get(part, 0.0):.1f}" for part in names),
                f"{other:.1f}",
                f"{totals['h100']:.0f} ({row['frames'] * 1e3 / totals['h100']:.0f})",
                f"{row['h100_flash_ms']:.0f}",
                *(f"{totals[card]:.0f}" for card in ("h200", "a100", "4090")),
                f"{row['peak_bytes'] / 2**30:.1f}",
            ]
        )
    head = ["", *names, "other", "H100 (frames/s)", "H100, FA2", "H200", "A100", "4090", "GiB"]
    return markdown_table(head, lines)


def main() -> None:
    here = Path(__file__).parent
    kept = here / "roofline.json"
    rows = json.loads(kept.read_text())["rows"] if kept.exists() else {}
    for name in sys.argv[1:] or ROWS:
        rows[name] = estimated(ROWS[name])
    rows = {name: rows[name] for name in ROWS if name in rows}
    kept.write_text(json.dumps({"notice": NOTICE, "rows": rows}, indent=1) + "\n")
    made = sorted({f"{row['commit'][:10]} ({row['date']})" for row in rows.values()})
    text = f"{NOTICE}. Commit {', '.join(made)}.\n\n{table(rows)}\n"
    (here / "roofline.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
