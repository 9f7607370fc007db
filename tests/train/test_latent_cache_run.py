"""A training whose clips come again encodes each once, and learns what one without a cache does."""

import sys
from pathlib import Path

import pytest
import torch
from small_training import configuration

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from shard_writing import write_folder  # noqa: E402

from lvis.distill.checkpoints import load_newest  # noqa: E402
from lvis.train.command import train  # noqa: E402


@pytest.fixture
def shards(tmp_path) -> Path:
    return write_folder(tmp_path / "shards", shards=(2,), held_out=(1,))


def test_each_clip_is_encoded_once_and_the_student_is_the_same(weights, shards, tmp_path):
    states = {}
    for name in ("null", tmp_path / "cache"):
        output = tmp_path / f"run_{Path(str(name)).name}"
        cfg = configuration(
            weights, output, "task=deblur", "data=shards", f"data.folder={shards}",
            "distill.frames=5", "distill.block_size=2", "data.val_clips=0", "trainer.max_steps=6",
            "task.operator.noise_std=0", f"distill.latent_cache={name}",
            "trainer.validate_every=0", "distill.encode_dtype=float32",
        )  # fmt: skip
        _, objects = train(cfg)
        states[name] = load_newest(output / "checkpoints").tensors()
        cache = objects["module"].latent_cache
    assert (cache.made, cache.read) == (2, 4)
    plain, cached = states.values()
    for key, value in plain.items():
        torch.testing.assert_close(cached[key], value, atol=0, rtol=0, msg=key)
