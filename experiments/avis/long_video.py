"""960 frames through AVIS Flash, AVIS Flash with re-injection, and AVIS: cost and quality per block.

    python experiments/avis/long_video.py [--frames 957] [--side 128] [--output outputs/avis/long_video.jsonl]

Writes a row per solver and block to `output`, and long_video.png beside this file. The clip is synthetic.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import matplotlib  # noqa: TID253

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: TID253
import torch
from hydra.utils import instantiate

from lvis.cli.config import compose
from lvis.cli.progress import track
from lvis.data.synthetic import synthetic_clip
from lvis.files import write_text
from lvis.memory import keep_freed_memory
from lvis.metrics import psnr_frames
from lvis.provenance import code_version, machine, today
from lvis.solvers import AVISSolver, block_frames

RUNS = {
    "AVIS Flash": ["solver=avis_flash"],
    "AVIS Flash, every 7th block": ["solver=avis_flash", "solver.reinject_every=7"],
    "AVIS": ["solver=avis"],
}


def restore(name: str, overrides: list[str], clip: torch.Tensor) -> dict[str, list[float]]:
    """Seconds, resident memory (MB) and PSNR (dB) of every block of (1, 3, T, H, W)."""
    cfg = compose(
        "restore",
        [
            "task=inpaint",
            *overrides,
            "model.teacher_vae.encode_dtype=bfloat16",
            "model.teacher_vae.decode_dtype=bfloat16",
        ],
    )
    solver: AVISSolver = instantiate(cfg.solver)
    operator = instantiate(cfg.task.operator).realise(clip.shape)
    first, later = block_frames(solver.block_size)
    found: dict[str, list[float]] = {"seconds": [], "memory": [], "psnr": [], "corrected": []}
    with solver.open(operator, (clip.shape[3], clip.shape[4])) as stream:
        lengths = [first, *[later] * ((clip.shape[2] - first) // later)]
        for index, clean in enumerate(
            track(clip.split(lengths, dim=2), description=name, unit="blocks")
        ):
            here, _ = operator.block(None, clean.shape[2])
            began = time.perf_counter()
            [restored] = stream.push(here(clean))
            found["seconds"].append(time.perf_counter() - began)
            found["memory"].append(resident())
            found["psnr"].append(psnr_frames(restored, clean).mean().item())
            found["corrected"].append(float(solver.corrects(index)))
    return found


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def rows(results: dict[str, dict[str, list[float]]], about: dict) -> list[dict]:
    """A row per solver and block; the first block, which fills the window, is in no quarter."""
    found = []
    for name, columns in results.items():
        quarter = len(columns["seconds"]) // 4
        for index in range(len(columns["seconds"])):
            place = (index - 1) // quarter + 1 if index else None
            if index >= len(columns["seconds"]) - quarter:
                place = 4
            values = {key: columns[key][index] for key in ("seconds", "memory", "psnr")}
            here = {"method": name, "clip": f"block-{index + 1}", "quarter": place}
            found.append({**about, **here, **values})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("--frames", type=int, default=957, help="9 + 12 n")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--output", type=Path, default=Path("outputs/avis/long_video.jsonl"))
    options = parser.parse_args()
    frames, side = options.frames, options.side
    keep_freed_memory()
    if (frames - 9) % 12:
        parser.error(f"--frames {frames} is not 9 + 12 n")
    clip = synthetic_clip(7, 1, frames, (side, side)).video[None]
    results = {name: restore(name, overrides, clip) for name, overrides in RUNS.items()}
    about = {"clips": "synthetic", "task": "inpaint", "vae": "wan", "size": [side, side]}
    about |= {"date": today(), "code": code_version(), "machine": machine()}
    lines = [json.dumps(row) + "\n" for row in rows(results, about)]
    write_text(options.output, "".join(lines))
    figure, axes = plt.subplots(3, 1, figsize=(9, 8), sharex=True, layout="constrained")
    for name, found in results.items():
        for axis, key in zip(axes, ("seconds", "memory", "psnr"), strict=True):
            axis.plot(range(1, len(found[key]) + 1), found[key], label=name, linewidth=1)
    for axis, label in zip(
        axes, ("seconds per block", "resident memory (MB)", "PSNR (dB)"), strict=True
    ):
        axis.set(ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].set(ylim=(0, None))
    axes[1].set(ylim=(0, None))
    axes[0].legend()
    axes[-1].set(xlabel="block")
    figure.savefig(Path(__file__).with_name("long_video.png"), dpi=110)


if __name__ == "__main__":
    main()
