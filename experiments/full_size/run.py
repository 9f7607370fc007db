"""Steps of the paper's training with adapters at full width, on a CPU with random weights: results.json.

python experiments/full_size/run.py STEPS        continues the run in outputs/experiments/full_size

The model is Wan2.1-1.3B in bfloat16 and both VAEs in full; the clips are 9 frames of 128 x 224, one per step. The
text encoder (11 GB) is replaced by embeddings of zeros in the prompt cache.
"""

import json
import os
import platform
import resource
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from lvis.backbone import NEGATIVE_PROMPT, NULL_PROMPT, PromptCache, TextEncoder
from lvis.cli.config import compose
from lvis.distill.records import read_journal
from lvis.files import write_text
from lvis.provenance import code_version, today
from lvis.train.command import train

HERE = Path(__file__).parent
OUTPUT = Path("outputs/experiments/full_size")


def no_encoder() -> TextEncoder:
    raise AssertionError("every prompt is in the cache")


def words(steps: int) -> list[str]:
    random = ("teacher", "teacher_vae", "vaes.lean", "text_encoder")
    return [
        "experiment=instantvir_lora",
        "task=deblur",
        "vae=lean",
        f"output={OUTPUT}",
        "data=synthetic",
        "data.num_workers=0",
        "data.val_clips=0",
        *(f"model.{part}.weights=random" for part in random),
        "model.teacher.dtype=bfloat16",
        "distill.size=[128,224]",
        "distill.frames=9",
        "distill.batch_size=1",
        "distill.accumulate=1",
        f"distill.prompt_cache={OUTPUT}/prompts",
        "trainer.accelerator=cpu",
        "trainer.threads=1",
        "trainer.validate_every=0",
        "trainer.log_every=1",
        "trainer.save_every=1000",
        f"trainer.max_steps={steps}",
    ]


def main() -> None:
    steps = int(sys.argv[1])
    cfg = compose("train", words(steps))
    cache = PromptCache(OUTPUT / "prompts", cfg.model.text_encoder.source, no_encoder, 512)
    cache.folder.mkdir(parents=True, exist_ok=True)
    for prompt in (NULL_PROMPT, NEGATIVE_PROMPT):
        save_file({"tokens": torch.zeros(2, 4096)}, cache.path(prompt))
    began = time.perf_counter()
    _, objects = train(cfg)
    module = objects["module"]
    trained = sum(p.numel() for p in module.losses.student.parameters() if p.requires_grad)
    lines = [line for line in read_journal(OUTPUT / "metrics.jsonl") if line["kind"] == "train"]
    found = {
        "steps": [
            {key: line[key] for key in sorted(line) if isinstance(line[key], int | float)}
            for line in lines
        ],
        "seconds_in_all": time.perf_counter() - began,
        "peak_resident_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "parameters": sum(p.numel() for p in module.losses.student.parameters()),
        "trained": trained,
        "processor": platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "commit": code_version(),
        "date": today(),
        "torch": torch.__version__,
    }
    path = HERE / "results.json"
    before = json.loads(path.read_text()) if path.exists() else []
    write_text(path, json.dumps([*before, found], indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
