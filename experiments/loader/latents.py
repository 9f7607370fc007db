"""Clips per second of trainings that encode and of ones that read latents: python experiments/loader/latents.py

Sixteen synthetic clips of the tiny world become shards with latents; then both VAEs and two tasks are trained for STEPS
steps each, with `data.latents` true and false in turn. Writes latents.json beside this file.
"""

import json
import platform
import tempfile
from fractions import Fraction
from pathlib import Path

import torch

from lvis.cli.config import compose
from lvis.data.frames import to_frames
from lvis.data.synthetic import synthetic_clip
from lvis.data.video_writer import VideoWriter
from lvis.files import write_text
from lvis.prepare.command import prepare
from lvis.provenance import code_version, today
from lvis.train.command import train

HERE = Path(__file__).parent
CLIPS, STEPS, SKIPPED = 16, 40, 5
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


def clips_per_second(folder: Path, vae: str, words: list[str], latents: bool) -> float:
    """Over whole cycles of one student update and four steps of the critic alone, without the first."""
    output = folder / "_".join(["run", vae, words[0].partition("=")[2], str(latents)])
    cfg = compose(
        "train",
        [
            f"output={output}", f"vae={vae}", *words, "data=shards", f"data.folder={folder / 'shards'}",
            f"data.latents={str(latents).lower()}", "data.val_clips=0", "data.num_workers=0",
            f"distill.size=[{SIZE[0]},{SIZE[1]}]", f"distill.frames={FRAMES}", "distill.likelihood_only_steps=0",
            "distill.encode_dtype=float32", "trainer.threads=1", f"trainer.max_steps={STEPS}", "trainer.log_every=1",
            "trainer.validate_every=0",
        ],
    )  # fmt: skip
    train(cfg)
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    seconds = [row["seconds"] for row in rows if "seconds" in row][SKIPPED:]
    seconds = seconds[: len(seconds) // 5 * 5]
    return len(seconds) / sum(seconds)


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "videos").mkdir()
        for number in range(CLIPS):
            clip = synthetic_clip(0, number, FRAMES, SIZE)
            with VideoWriter(folder / "videos" / f"{number}.mkv", Fraction(16)) as writer:
                for frame in to_frames(clip.video[None]):
                    writer.write(frame)
        for vae in ("lean", "wan"):
            for task, (words, more) in TASKS.items():
                prepared(folder, vae, more)
                rates = {
                    str(latents).lower(): clips_per_second(folder, vae, words, latents)
                    for latents in (False, True)
                }
                rows.append({"vae": vae, "task": task, "clips_per_second": rates})
                print(json.dumps(rows[-1]), flush=True)
    about = {
        "date": today(),
        "commit": code_version(),
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "clips": CLIPS,
        "steps": STEPS,
        "size": [*SIZE, FRAMES],
    }
    write_text(HERE / "latents.json", json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
