"""Every solver's frame and its x-t slice in one picture per task and clip, from the videos that evaluations kept.

    python experiments/vision_xl/grid/draw.py RESULTS OUTPUT [--clips synthetic]

RESULTS is a folder of evaluations with label=grid or overview and clips.videos; OUTPUT gets <clip>_<task>.png. Over
the columns is PSNR in dB, of the tensors; the videos are H.264, finer than what can be seen.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from torch import Tensor

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from lvis.cli.config import fail  # noqa: E402
from lvis.data.frames import to_video  # noqa: E402
from lvis.data.video import open_source  # noqa: E402
from lvis.errors import UserError  # noqa: E402
from lvis.evaluate.pictures import save_grid  # noqa: E402
from lvis.evaluate.table import Row, read_rows  # noqa: E402
from lvis.evaluate.videos import CLEAN, MEASUREMENT, video_path  # noqa: E402

LABELS = ("grid", "overview")
# method -> caption, in the order of the columns
SOLVERS = {
    "pinv": "pinv",
    "admm_tv": "ADMM-TV",
    "svi": "SVI",
    "dps": "DPS",
    "vision_xl": "VISION-XL",
    "diffir2vr": "DiffIR2VR",
    "lvtino": "LVTINO",
    "avis": "AVIS",
    "student": "student",
}


def draw(results: Path, output: Path, clips: str) -> list[Path]:
    """A picture for each clip of the set `clips` and each task, of the solvers whose videos are there.

    Raises:
        UserError: no videos with label=grid of these clips, or one that cannot be read.
    """
    # of several rows of one thing the last counts
    rows = {
        (row["clip"], row["task"], row["method"]): row
        for row in read_rows(results / "results.jsonl")
        if row["label"] in LABELS and row["clips"] == clips and row["method"] in SOLVERS
        # an evaluation that was interrupted leaves rows without videos
        if video_path(results, row, row["method"]).is_file()
    }
    if not rows:
        raise UserError(
            f"{results} has no {clips} clips with a label of {LABELS}; run experiments/vision_xl/grid/run.sh"
        )
    written = []
    for clip, task in dict.fromkeys(key[:2] for key in rows):
        here = {name: rows[clip, task, name] for name in SOLVERS if (clip, task, name) in rows}
        written.append(output / f"{clip}_{task}.png")
        save_grid(written[-1], columns(results, here))
    return written


def columns(results: Path, rows: dict[str, Row]) -> dict[str, Tensor]:
    """Caption -> video: the measurement, every solver's answer with its PSNR, the clean clip."""
    some = next(iter(rows.values()))
    answers = {
        f"{SOLVERS[name]} {row['psnr']:.1f}": read(video_path(results, row, name))
        for name, row in rows.items()
    }
    return {
        MEASUREMENT: read(video_path(results, some, MEASUREMENT)),
        **answers,
        CLEAN: read(video_path(results, some, CLEAN)),
    }


def read(path: Path) -> Tensor:
    """(1, 3, T, H, W) in [-1, 1].

    Raises:
        UserError: unreadable.
    """
    with open_source(str(path)) as frames:
        return to_video(np.stack(list(frames)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--clips", default="synthetic", help="clips.name of the evaluations")
    told = parser.parse_args()
    try:
        for path in draw(told.results, told.output, told.clips):
            print(f"wrote: {path}")
    except UserError as error:
        fail(error)


if __name__ == "__main__":
    main()
