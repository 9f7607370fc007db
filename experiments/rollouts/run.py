"""Drift over twenty blocks, of students that were and were not trained on their own past: results.json.

python experiments/rollouts/run.py [STEPS]       tiny world, one CPU core; the trainings resume

Both continue from the bundled student on the same clips, with the likelihood alone. Each is then streamed with the
keys and values of its inputs in the cache (the paper's way) and with those of its own outputs.
"""

import json
import sys
from pathlib import Path

import torch

from lvis.cli.config import compose
from lvis.data.synthetic import SyntheticVideos
from lvis.files import write_text
from lvis.metrics import psnr_frames
from lvis.operators import Downsampling
from lvis.provenance import code_version, today
from lvis.restorer import Restorer
from lvis.train.command import train

HERE = Path(__file__).parent
OUTPUT = Path("outputs/experiments/rollouts")
SIZE, CLIPS, BLOCKS = (64, 64), 6, 20
FRAMES = 9 + 12 * (BLOCKS - 1)
EARLY, LATE = slice(1, 6), slice(15, 20)  # blocks
TRAINED = {"one pass": 0, "rollouts": 2}


def trained(name: str, steps: int) -> str:
    """The folder of a student after `steps` more steps."""
    folder = OUTPUT / f"{name.replace(' ', '_')}_{steps}"
    words = [
        "task=sr4",
        "vae=lean",
        f"output={folder}",
        "distill.size=[64,64]",
        "distill.frames=45",
        f"distill.rollout_blocks={TRAINED[name]}",
        "distill.student_from=bundled:tiny/student_sr4_lean",
        "distill.zero_head=false",
        "distill.prior_weight=0",
        "distill.student_learning_rate=1e-3",
        f"distill.decay_steps={steps}",
        f"trainer.max_steps={steps}",
        "trainer.validate_every=0",
        "trainer.threads=1",
        "data.num_workers=0",
    ]
    train(compose("train", words))
    return str(folder / "student")


def psnr_by_block(weights: str, context_pass: bool, clips: SyntheticVideos) -> torch.Tensor:
    """PSNR (clips, BLOCKS)."""
    operator = Downsampling(4)
    restorer = Restorer.from_pretrained(
        "tiny", task="sr4", solver="student", overrides=["vae=lean"], operator=operator,
        weights=weights, context_pass=context_pass, device="cpu",
    )  # fmt: skip
    rows = []
    for index in range(len(clips)):
        video = clips[index]["video"][None]
        restored = restorer(operator(video))
        frames = psnr_frames(restored, video).flatten()
        rows.append(torch.stack([part.mean() for part in frames.split([9] + [12] * (BLOCKS - 1))]))
    return torch.stack(rows)


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    clips = SyntheticVideos(5, FRAMES, SIZE, "val", length=CLIPS)
    students = {name: trained(name, steps) for name in TRAINED}
    students = {"bundled": "bundled:tiny/student_sr4_lean", **students}
    rows = []
    for name, weights in students.items():
        for context_pass in (False, True):
            values = psnr_by_block(weights, context_pass, clips)
            change = values[:, LATE].mean(dim=1) - values[:, EARLY].mean(dim=1)
            rows.append(
                {
                    "student": name,
                    "past": "outputs" if context_pass else "inputs",
                    "psnr": values.mean().item(),
                    "early": values[:, EARLY].mean().item(),
                    "late": values[:, LATE].mean().item(),
                    "changes": change.tolist(),
                    "blocks": values.mean(dim=0).tolist(),
                }
            )
            print(
                name, rows[-1]["past"], f"{rows[-1]['psnr']:.2f} {change.mean():+.2f}", flush=True
            )
    about = {"steps": steps, "clips": CLIPS, "frames": FRAMES, "size": SIZE}
    about |= {"commit": code_version(), "date": today(), "torch": torch.__version__}
    write_text(HERE / "results.json", json.dumps({"about": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
