"""ADMM-TV's weight per task and noise: python experiments/real/tune.py --videos DIR --clips NAME ...

The best mean PSNR of three weights, and of a quarter or fourfold of the outermost while that is the best, on the middle
64x112 pixels of 9 frames of clips scaled to 128x224. They must not be those of the test.
Writes tv_weights.json beside this file.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean

sys.path[:0] = [str(Path(__file__).resolve().parents[at]) for at in (1, 2)]

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from lvis.files import write_text  # noqa: E402
from lvis.metrics import psnr_frames  # noqa: E402
from real.measurements import NOISES, TASKS, cells, find_clips, measure, read_clip  # noqa: E402
from real.methods import TV_WEIGHTS, operator_of, restore  # noqa: E402

FRAMES = 9
MOST_FURTHER = 2
CANDIDATES = {
    "0": (3e-5, 3e-4, 3e-3),
    "0.02": (5e-4, 2e-3, 8e-3),
    "h264": (5e-4, 2e-3, 8e-3),
    "0.05": (0.01, 0.02, 0.04),
    "0.1": (0.025, 0.05, 0.1),
}


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", required=True, type=Path)
    parser.add_argument("--clips", required=True, nargs="+")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = find_clips(asked.videos)
    clean = {name: _middle(found[name]) for name in asked.clips}
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for task in TASKS:
        for noise in NOISES[task]:
            tried = {
                f"{weight:g}": _score(clean, task, noise, weight) for weight in CANDIDATES[noise]
            }
            scores.setdefault(task, {})[noise] = tried
            print(task, noise, tried, flush=True)
    best = {
        task: {noise: float(max(tried, key=lambda w: tried[w])) for noise, tried in of_task.items()}
        for task, of_task in scores.items()
    }
    chosen = (
        f"best mean PSNR on {', '.join(asked.clips)} (64x112, {FRAMES} frames); all scores below"
    )
    write_text(
        TV_WEIGHTS, json.dumps({"chosen": chosen, "weights": best, "psnr": scores}, indent=1) + "\n"
    )


def _score(clips: dict[str, Tensor], task: str, noise: str, weight: float) -> float:
    values = []
    for cell in cells(list(clips), ["shrunk"], [task], [noise]):
        clean = clips[cell.clip]
        operator = operator_of(cell, clean)
        overrides = (f"solver.tv_weight={weight}", f"solver.rho={30 * weight}")
        video = restore("admm_tv", cell, operator, measure(operator, clean, cell), overrides)
        values.append(psnr_frames(video, clean).mean().item())
    return round(fmean(values), 3)


def _middle(path: Path) -> Tensor:
    clip = read_clip(path, "shrunk", FRAMES)
    assert clip is not None, f"{path} is smaller than 128x224"
    return clip[..., 32:96, 56:168]


if __name__ == "__main__":
    main()
