"""Tables 1 to 3 of AVIS from outputs/avis/results.jsonl, beside the paper's: python experiments/avis/tables.py."""

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev

from lvis.evaluation.table import Row, read_rows

TASKS = ("sr4", "inpaint", "deblur", "temporal_average", "spatiotemporal_average")
# PSNR / SSIM of AVIS and AVIS Flash in the paper's Table 1: 100 Pexels clips, 81 frames, 480 x 854
PAPER_1 = {
    "sr4": ("30.38 / 0.826", "29.95 / 0.818"),
    "inpaint": ("31.27 / 0.870", "30.29 / 0.842"),
    "deblur": ("30.69 / 0.831", "30.41 / 0.827"),
    "temporal_average": ("32.10 / 0.887", "31.57 / 0.878"),
    "spatiotemporal_average": ("29.99 / 0.818", "29.81 / 0.815"),
}
# Table 2, RTX 4090: seconds to the first frame, seconds, frames a second
PAPER_2 = {
    "whole": "114 / 114 / 0.71 (LVTINO)",
    "avis": "4 / 68.5 / 1.18",
    "avis_flash": "4 / 13.7 / 5.91",
}
# Table 3, inpainting by AVIS Flash
PAPER_3 = {
    "t0_0.1_K_2_cache_True": ("default: t0 = 0.1, K = 2, cache", "30.29 / 0.842"),
    "t0_0.1_K_2_cache_False": ("without AR propagation", "29.75 / 0.830"),
    "t0_0.2_K_2_cache_True": ("t0 = 0.2", "28.98 / 0.810"),
    "t0_0.5_K_2_cache_True": ("t0 = 0.5", "25.50 / 0.716"),
    "t0_0.1_K_1_cache_True": ("K = 1", "30.40 / 0.843"),
    "t0_0.1_K_4_cache_True": ("K = 4", "29.95 / 0.837"),
    "from_noise": ("later blocks from pure noise (Figure 3)", "not given"),
}


class Results:
    """Rows by label, clips, task and method; of equals the last counts."""

    def __init__(self, rows: list[Row]) -> None:
        keys = ("label", "clips", "task", "method", "clip")
        self.rows = {tuple(row[key] for key in keys): row for row in rows}

    def find(self, *key: str) -> list[Row]:
        return [row for name, row in self.rows.items() if name[: len(key)] == key]

    def cell(self, *key: str) -> str:
        rows = self.find(*key)
        if not rows:
            return "-"
        spread = (
            f" +- {stdev(r['psnr'] for r in rows) / len(rows) ** 0.5:.2f}" if len(rows) > 1 else ""
        )
        return (
            f"{fmean(r['psnr'] for r in rows):.2f}{spread} / {fmean(r['ssim'] for r in rows):.3f}"
        )

    def paired(self, first: tuple[str, ...], second: tuple[str, ...]) -> str:
        """PSNR of `first` minus `second` over the clips of both, with its standard error."""
        other = {row["clip"]: row["psnr"] for row in self.find(*second)}
        gains = [r["psnr"] - other[r["clip"]] for r in self.find(*first) if r["clip"] in other]
        if len(gains) < 2:
            return "-"
        return f"{fmean(gains):+.2f} +- {stdev(gains) / len(gains) ** 0.5:.2f}"


def table(head: list[str], lines: list[list[str]]) -> str:
    return (
        "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines])
        + "\n"
    )


def table_1(results: Results, clips: str) -> str:
    head = [
        "task",
        "pinv",
        "D(E(y))",
        "AVIS",
        "AVIS Flash",
        "D(E(x))",
        "AVIS - Flash",
        "paper: AVIS",
        "paper: Flash",
    ]
    lines = []
    for task in TASKS:
        methods = ("pinv", "D(E(y))", "avis", "avis_flash", "D(E(x))")
        cells = [results.cell("table1", clips, task, method) for method in methods]
        pair = (("table1", clips, task, "avis"), ("table1", clips, task, "avis_flash"))
        lines.append([task, *cells, results.paired(*pair), *PAPER_1[task]])
    return table(head, lines)


def table_2(results: Results, clips: str) -> str:
    lines = []
    for name, label, method in (
        ("the same prior on the whole clip", "whole", "avis"),
        ("AVIS", "table1", "avis"),
        ("AVIS Flash", "table1", "avis_flash"),
    ):
        rows = results.find(label, clips, "sr4", method)
        if not rows:
            continue
        first = fmean(r["time_to_first_frame"] for r in rows)
        seconds = fmean(r["seconds"] for r in rows)
        rate = fmean(r["frames"] / r["seconds"] for r in rows)
        paper = PAPER_2["whole" if label == "whole" else method]
        quality = results.cell(label, clips, "sr4", method)
        lines.append([name, f"{first:.2f}", f"{seconds:.2f}", f"{rate:.2f}", quality, paper])
    head = [
        "x4",
        "first frame (s)",
        "total (s)",
        "frames/s",
        "PSNR / SSIM",
        "paper: first, total, frames/s",
    ]
    return table(head, lines)


def table_3(results: Results, clips: str) -> str:
    base = ("t0_0.1_K_2_cache_True", clips, "inpaint", "avis_flash")
    lines = [
        [name, results.cell(label, *base[1:]), results.paired((label, *base[1:]), base), paper]
        for label, (name, paper) in PAPER_3.items()
    ]
    return table(["AVIS Flash, inpainting", "PSNR / SSIM", "minus default", "paper"], lines)


def variants(results: Results, clips: str) -> str:
    lines = []
    for label in ("init_pinv", "gamma_100", "round_trips"):
        for task in TASKS:
            key = (label, clips, task, "avis")
            if results.find(*key):
                gain = results.paired(key, ("table1", clips, task, "avis"))
                lines.append([label, task, results.cell(*key), gain])
    return table(["setting", "task", "AVIS", "minus default"], lines)


def main() -> None:
    results = Results(
        read_rows(Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/avis/results.jsonl"))
    )
    parts: dict[str, Callable[[Results, str], str]] = {
        "Table 1": table_1,
        "Table 2": table_2,
        "Table 3": table_3,
        "Other settings": variants,
    }
    for name, make in parts.items():
        for clips in sorted({key[1] for key in results.rows}, reverse=True):
            print(f"### {name}, {clips} clips\n\n{make(results, clips)}")


if __name__ == "__main__":
    main()
