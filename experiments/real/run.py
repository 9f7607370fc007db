"""Scores on real clips: python experiments/real/run.py --videos DIR [--tasks ...] [--methods ...] [--set KEY=VALUE ...]

Rows go to OUTPUT/results.csv as they come; those that are there are not computed again. Pictures go to
OUTPUT/pictures/. See README.md beside this file.
"""

import argparse
import csv
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[at]) for at in (1, 2)]

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from lvis.cli.config import fail  # noqa: E402
from lvis.errors import UserError  # noqa: E402
from lvis.metrics import Suite  # noqa: E402
from lvis.provenance import code_version, machine, today  # noqa: E402
from real import pictures  # noqa: E402
from real.measurements import (  # noqa: E402
    FRAMES,
    SIZES,
    TASKS,
    Cell,
    cells,
    find_clips,
    measure,
    read_clip,
)
from real.methods import BASELINES, operator_of, restore, weights_digest  # noqa: E402

METHODS = ("pinv", "admm_tv", "infill", "student")
METRICS = {
    "psnr": "psnr_rgb_frame_mean",
    "ssim": "ssim_rgb_gauss11_frame_mean",
    "grid": "grid_energy_8px",
    "grid_contrast": "grid_contrast_8px",
    "flicker": "flicker_static",
    "sharpness": "sharpness_high_band",
    "gradients": "gradient_distance",
}
KEY = ("clip", "size", "frames", "task", "noise", "method", "overrides", "weights")
COLUMNS = (*KEY, *METRICS, "seconds", "code", "date", "machine")


def main(arguments: list[str] | None = None) -> None:
    asked = _parser().parse_args(arguments)
    try:
        run(asked)
    except UserError as error:
        fail(error)


def run(asked: argparse.Namespace) -> None:
    torch.set_num_threads(asked.threads)
    found = find_clips(asked.videos)
    clips = asked.clips or list(found)
    if unknown := set(clips) - set(found):
        raise UserError(f"--clips {sorted(unknown)[0]}: {asked.videos} has {', '.join(found)}")
    table = asked.output / "results.csv"
    done = _done(table)
    suite, read = Suite(tuple(METRICS.values())), ("", "", 0)
    clean: Tensor | None = None
    for cell in cells(clips, asked.sizes, asked.tasks, asked.noises):
        frames = asked.frames or FRAMES[cell.size]
        if read != (cell.clip, cell.size, frames):
            read = (cell.clip, cell.size, frames)
            clean = read_clip(found[cell.clip], cell.size, frames)
        if clean is not None:
            _cell(cell, clean, asked, suite, table, done)


@torch.inference_mode()
def _cell(
    cell: Cell, clean: Tensor, asked: argparse.Namespace, suite: Suite, table: Path, done: set
) -> None:
    rows = []
    for method in asked.methods:
        if method == "infill" and cell.task != "inpaint":
            continue
        overrides = () if method in BASELINES else tuple(asked.set)
        row = {
            **vars(cell), "frames": str(clean.shape[2]), "method": method,
            "overrides": " ".join(overrides), "weights": weights_digest(method, overrides),
        }  # fmt: skip
        if tuple(row[key] for key in KEY) not in done:
            rows.append((method, overrides, row))
    if not rows:
        return
    operator = operator_of(cell, clean)
    measurement = measure(operator, clean, cell)
    pictures.keep(asked.output, cell, "measurement", operator.lift(measurement))
    for method, overrides, row in rows:
        began = time.perf_counter()
        try:
            video = restore(method, cell, operator, measurement, overrides)
        except UserError as error:  # no student for this task, say; the other rows can still come
            print(f"{cell.name:44} {method:8} left out: {error}", file=sys.stderr, flush=True)
            continue
        seconds = time.perf_counter() - began
        scores = suite.clip(video, clean)
        values = {
            name: scores.values[suite.column(m)]
            for name, m in zip(METRICS, suite.metrics, strict=True)
        }
        row |= {name: "" if value is None else f"{value:.5g}" for name, value in values.items()}
        row |= {
            "seconds": f"{seconds:.2f}",
            "code": code_version()[:12],
            "date": today(),
            "machine": machine(),
        }
        _append(table, row)
        pictures.keep(asked.output, cell, " ".join([method, *overrides]), video)
        print(
            f"{cell.name:44} {method:8} {row['overrides']} PSNR {row['psnr']} grid {row['grid']} {row['seconds']} s",
            flush=True,
        )
    pictures.keep(asked.output, cell, "zz clean", clean)
    pictures.strip(asked.output, cell)


def _done(table: Path) -> set[tuple[str, ...]]:
    if not table.exists():
        return set()
    with table.open(encoding="utf-8", newline="") as file:
        return {tuple(row[key] for key in KEY) for row in csv.DictReader(file)}


def _append(table: Path, row: dict[str, str]) -> None:
    table.parent.mkdir(parents=True, exist_ok=True)
    fresh = not table.exists()
    with table.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--videos", required=True, type=Path, help="folder of videos and folders of frames"
    )
    parser.add_argument("--output", type=Path, default=Path("outputs/real"))
    parser.add_argument("--clips", nargs="+", default=[], help="names without suffix (all)")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=["shrunk"])
    parser.add_argument(
        "--frames",
        type=int,
        default=0,
        help="per clip (33 shrunk, 21 native; shorter clips give what they have)",
    )
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument(
        "--noises",
        nargs="+",
        choices=["0", "0.02", "0.05", "0.1", "h264"],
        default=[],
        help="those of the task",
    )
    parser.add_argument(
        "--methods", nargs="+", default=list(METHODS), help="infill, or solvers (conf/solver)"
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="keys of lvis.restore for methods with a network",
    )
    parser.add_argument("--threads", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
