"""Clips per second of trainings that encode and of ones that read latents.

    python experiments/loader/latents.py [VAE TASK]

Synthetic clips of the tiny world become shards with latents; then each VAE and task is trained with `data.latents`
true and false. Rates are of processor time, so that other processes on the core do not count: what STEPS further
steps take, two cycles of one student update and four of the critic alone. Writes latents.json beside this file.
"""

import json
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import torch

from lvis.cli.config import compose
from lvis.data.frames import to_frames
from lvis.data.synthetic import synthetic_clip
from lvis.data.video_writer import VideoWriter
from lvis.files import write_text
from lvis.prepare.command import prepare
from lvis.provenance import code_version, machine, today
from lvis.train.command import train

HERE = Path(__file__).parent
CLIPS, FIRST, STEPS = 4, 5, 10
SIZE, FRAMES = (128, 128), 33
# name -> words of the training, words of the preparation
TASKS = {
    "inpaint on latents": (["task=inpaint", "task.operator.space=latent"], []),
    "deblur": (["task=deblur"], ["task=deblur"]),
}
SHAPE = [f"size=[{SIZE[0]},{SIZE[1]}]", f"frames={FRAMES}"]


def prepared(folder: Path, vae: str, words: list[str]) -> None:
    common = [f"input={folder / 'videos'}", f"output={folder / 'shards'}", *SHAPE, "held_out=0"]
    prepare(compose("prepare", [*common, "workers=1", "latents=true", f"vae={vae}", *words]))


def seconds_of(folder: Path, vae: str, words: list[str], latents: bool, steps: int) -> float:
    """Processor time of a training of so many steps, its preparation included."""
    output = folder / "_".join(["run", vae, str(latents), str(steps)])
    cfg = compose(
        "train",
        [
            f"output={output}", f"vae={vae}", *words, "data=shards", f"data.folder={folder / 'shards'}",
            f"data.latents={str(latents).lower()}", "data.val_clips=0", "data.num_workers=0",
            f"distill.size=[{SIZE[0]},{SIZE[1]}]", f"distill.frames={FRAMES}", "distill.likelihood_only_steps=0",
            "distill.encode_dtype=float32", "trainer.threads=1", f"trainer.max_steps={steps}",
            "trainer.save_every=1000", "trainer.validate_every=0",
        ],
    )  # fmt: skip
    began = time.process_time()
    train(cfg)
    return time.process_time() - began


def clips_per_second(folder: Path, vae: str, words: list[str], latents: bool) -> float:
    first, both = (
        seconds_of(folder, vae, words, latents, steps) for steps in (FIRST, FIRST + STEPS)
    )
    return STEPS / (both - first)


def row(vae: str, task: str) -> dict:
    words, more = TASKS[task]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "videos").mkdir()
        for number in range(CLIPS):
            clip = synthetic_clip(0, number, FRAMES, SIZE)
            with VideoWriter(folder / "videos" / f"{number}.mkv", Fraction(16)) as writer:
                for frame in to_frames(clip.video[None]):
                    writer.write(frame)
        prepared(folder, vae, more)
        rates = {
            str(latents).lower(): clips_per_second(folder, vae, words, latents)
            for latents in (False, True)
        }
    return {
        "vae": vae,
        "task": task,
        "clips_per_second": rates,
        "steps": STEPS,
        "size": [*SIZE, FRAMES],
        "date": today(),
        "commit": code_version(),
        "torch": torch.__version__,
        "machine": machine(),
    }


def main() -> None:
    torch.set_num_threads(1)
    path = HERE / "latents.json"
    wanted = [tuple(sys.argv[1:3])] if sys.argv[1:] else [(v, t) for v in ("lean", "wan") for t in TASKS]  # fmt: skip
    for vae, task in wanted:
        rows = json.loads(path.read_text()) if path.is_file() else []
        rows = [one for one in rows if (one["vae"], one["task"]) != (vae, task)]
        rows.append(row(vae, task))
        print(json.dumps(rows[-1]), flush=True)
        write_text(path, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
