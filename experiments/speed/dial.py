"""Window, sink and precision against quality: 40 blocks of the tiny student on one long synthetic clip, on the CPU.

    python experiments/speed/dial.py windows TASK      # PSNR and milliseconds per block; dial.json
    python experiments/speed/dial.py precision TASK    # PSNR; float8 is emulated, and nothing is timed

The variants take each block in turn, so that all see the same machine. Times are of the processor, for one thread:
waiting for a shared core is not in them.
"""

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lvis.cli.build import build
from lvis.cli.config import compose
from lvis.data.synthetic import SyntheticVideos
from lvis.files import write_text
from lvis.metrics import psnr_frames
from lvis.provenance import code_version, processor, today
from lvis.solvers.blocks import block_frames
from lvis.solvers.build import build_solver

SIZE, BLOCKS, SEED = (128, 128), 40, 5
FRAMES = 9 + 12 * (BLOCKS - 1)
STEADY = 7  # the first block that finds a window of 21 full
# window, of which sink: latent frames
WINDOWS = [(3, 0), (6, 0), (9, 0), (9, 3), (12, 0), (12, 3), (21, 0)]
PRECISIONS = ["fp32", "bf16", "fp8"]


@dataclass
class Variant:
    """A stream with its own settings, and what each block gave."""

    name: str
    keys: list[str]
    step_ms: list[float] = field(default_factory=list)
    block_ms: list[float] = field(default_factory=list)
    given: list[Tensor] = field(default_factory=list)

    def open(self, task: str, operator: Any) -> None:
        words = [f"task={task}", "model=tiny", "vae=lean", "device=cpu", "consistency=none"]
        self.solver = build_solver(compose("restore", [*words, *self.keys]))
        step = self.solver.transformer.step

        def timed(*args: Any, **options: Any) -> Tensor:
            began = time.process_time()
            out = step(*args, **options)
            self.step_ms.append((time.process_time() - began) * 1e3)
            return out

        self.solver.transformer.step = timed
        self.stream = self.solver.open(operator, size=SIZE)

    def push(self, block: Tensor) -> None:
        began = time.process_time()
        self.given += self.stream.push(block)
        self.block_ms.append((time.process_time() - began) * 1e3)


def variants(what: str) -> list[Variant]:
    if what == "precision":
        return [Variant(name, [f"precision={name}"]) for name in PRECISIONS]
    return [
        Variant(f"{window}, sink {sink}" if sink else str(window),
                ["precision=fp32", f"model.window={window}", f"model.sink={sink}"])
        for window, sink in WINDOWS
    ]  # fmt: skip


def main() -> None:
    what, task = sys.argv[1:3]
    torch.set_num_threads(1)
    video = SyntheticVideos(SEED, FRAMES, SIZE, "val", length=1)[0]["video"][None]
    operator = build(compose("restore", [f"task={task}"]).task.operator)
    generator = torch.Generator().manual_seed(SEED)
    operator = operator.realise((1, 3, FRAMES, *SIZE), generator)
    measurement = operator.measure(video, generator)
    chosen = variants(what)
    for each in chosen:
        each.open(task, operator)
    first, later = block_frames(3)
    for block in measurement.split([first] + [later] * (BLOCKS - 1), dim=2):
        for each in chosen:
            each.push(block)
    outputs: dict[str, Tensor] = {}
    rows: dict[str, dict[str, float]] = {}
    for each in chosen:
        each.given += each.stream.finish()
        restored = torch.cat(each.given, dim=2)
        frames = psnr_frames(restored, video).flatten()
        rows[each.name] = {
            "psnr": frames.mean().item(),
            "psnr_last_20_blocks": frames[-20 * later :].mean().item(),
        }
        outputs[each.name] = restored
        if what == "windows":
            rows[each.name] |= {
                "block_ms": torch.tensor(each.block_ms[STEADY:]).median().item(),
                "step_ms": torch.tensor(each.step_ms[STEADY:]).median().item(),
            }
    for name in set(outputs) - {"bf16"} if what == "precision" else ():
        rows[name]["psnr_to_bf16"] = psnr_frames(outputs[name], outputs["bf16"]).mean().item()
    for name, row in rows.items():
        print(task, name, {key: round(value, 2) for key, value in row.items()})
    kept = Path(__file__).with_name("dial.json")
    found = json.loads(kept.read_text()) if kept.exists() else {}
    about = {"commit": code_version(), "date": today(), "torch": torch.__version__}
    about |= {"processor": processor()}
    found[f"{what} {task}"] = {**about, "blocks": BLOCKS, "size": SIZE, "rows": rows}
    write_text(kept, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
