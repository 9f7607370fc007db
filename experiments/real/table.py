"""Tables of results.csv files as Markdown: python experiments/real/table.py RESULTS.csv [...] [--measure psnr]

Means per task and noise over the clips that every method has; then per clip the last method less the better of A^+ y,
ADMM-TV and normalised convolution.
"""

import argparse
import csv
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean

sys.path[:0] = [str(Path(__file__).resolve().parents[at]) for at in (1, 2)]

from lvis.markdown import markdown_table  # noqa: E402

BASELINES = ("pinv", "admm_tv", "infill")
Scores = dict[tuple[str, str, str, str], dict[str, float]]


def read(paths: list[Path], measure: str) -> Scores:
    """(size, task, noise, clip) -> method -> score; of rows of one thing the last."""
    scores: Scores = defaultdict(dict)
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row[measure]:
                    method = " ".join(filter(None, (row["method"], row["overrides"])))
                    scores[row["size"], row["task"], row["noise"], row["clip"]][method] = float(
                        row[measure]
                    )
    return scores


def means(scores: Scores, digits: int = 2) -> str:
    """A line per size, task and noise: means over the clips that have every method of the line."""
    methods = _methods(scores)
    groups: dict[tuple[str, str, str], list[dict[str, float]]] = defaultdict(list)
    for (size, task, noise, _), of_clip in scores.items():
        groups[size, task, noise].append(of_clip)
    lines = []
    for group, clips in groups.items():
        here = [m for m in methods if any(m in clip for clip in clips)]
        whole = [clip for clip in clips if all(m in clip for m in here)]
        cells = {m: f"{fmean(clip[m] for clip in whole):.{digits}f}" if whole else "" for m in here}
        lines.append([*group, str(len(whole)), *(cells.get(m, "") for m in methods)])
    return markdown_table(("size", "task", "noise", "clips", *methods), lines)


def gains(scores: Scores, method: str) -> str:
    """`method` less the best baseline of the same clip: a column per clip, their mean and the least."""
    groups: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    for (size, task, noise, clip), of_clip in scores.items():
        baselines = [of_clip[name] for name in BASELINES if name in of_clip]
        if method in of_clip and baselines:
            groups[size, task, noise][clip] = of_clip[method] - max(baselines)
    names = sorted({clip for of_clip in groups.values() for clip in of_clip})
    lines = [
        [
            *group,
            f"{fmean(of_clip.values()):+.2f}",
            f"{min(of_clip.values()):+.2f}",
            *(f"{of_clip[name]:+.2f}" if name in of_clip else "" for name in names),
        ]
        for group, of_clip in groups.items()
    ]
    return markdown_table(("size", "task", "noise", "mean", "least", *names), lines)


def _methods(scores: Scores) -> list[str]:
    found = {method for of_clip in scores.values() for method in of_clip}
    return [*(m for m in BASELINES if m in found), *sorted(found - set(BASELINES))]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--measure", default="psnr")
    asked = parser.parse_args()
    scores = read(asked.results, asked.measure)
    print(
        f"{asked.measure}, means over clips\n\n{means(scores, 2 if asked.measure == 'psnr' else 4)}"
    )
    for method in _methods(scores):
        if method not in BASELINES and asked.measure == "psnr":
            print(
                f"\n{method} less the better of the baselines, per clip (dB)\n\n{gains(scores, method)}"
            )


if __name__ == "__main__":
    main()
