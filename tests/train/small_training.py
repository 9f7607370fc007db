"""A training of seconds: its configuration for this process, its environment for one of its own."""

import os
from pathlib import Path

from omegaconf import DictConfig

from lvis.cli.config import compose


def configuration(weights: Path, output: Path, *overrides: str) -> DictConfig:
    return compose(
        "train",
        [
            f"output={output}",
            f"model.teacher.source={weights / 'teacher'}",
            f"model.teacher_vae.source={weights / 'wan_vae'}",
            f"model.vaes.lean.source={weights / 'lean_vae'}",
            f"model.text_encoder.source={weights / 'text_encoder'}",
            "distill.size=[32,32]",
            "distill.frames=9",
            "distill.batch_size=1",
            "distill.ratio=2",
            "distill.likelihood_only_steps=0",
            "distill.warmup_steps=0",
            "task.operator.noise_std=0.01",
            "data.num_workers=0",
            "data.val_clips=1",
            "trainer.validation_clips=1",
            "trainer.log_every=1",
            "trainer.max_steps=4",
            *overrides,
        ],
    )


def environment() -> dict[str, str]:
    """Of a user, not of this test run's own processes."""
    names = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK", "LOCAL_RANK", "NODE_RANK")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
