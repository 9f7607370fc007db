"""data.latents=true: the training that encodes nothing is the one that does, and other latents are refused."""

import sys
from pathlib import Path

import pytest
import torch
from small_training import configuration

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from shard_writing import members_of, rewrite, write_folder  # noqa: E402

from lvis.cli.config import compose, plain  # noqa: E402
from lvis.data.shard_format import read_index  # noqa: E402
from lvis.data.shard_latents import ShardLatents, facts_of  # noqa: E402
from lvis.distill.checkpoints import load_newest  # noqa: E402
from lvis.errors import UserError  # noqa: E402
from lvis.prepare.latents import encode_shards  # noqa: E402
from lvis.prepare.settings import Settings  # noqa: E402
from lvis.train.command import train  # noqa: E402
from lvis.vae import LeanVAE  # noqa: E402
from lvis.weights import load_lean_vae, save_lean_vae  # noqa: E402
from lvis.weights.packed import digest  # noqa: E402

LATENT_MASK = ("task=inpaint", "task.operator.space=latent")
BLUR = ("task=deblur",)


@pytest.fixture
def shards(tmp_path) -> Path:
    return write_folder(tmp_path / "shards", shards=(2, 1), held_out=(1,))


def prepare_latents(weights: Path, shards: Path, *words: str) -> float | None:
    """As `lvis.prepare` does when the shards are there."""
    cfg = compose(
        "prepare",
        [
            f"input={shards.parent / 'videos'}", f"output={shards}", "size=[32,32]", "frames=5", "workers=1",
            "device=cpu", f"model.vaes.lean.source={weights / 'lean_vae'}", "latents=true", *words,
        ],
    )  # fmt: skip
    (shards.parent / "videos").mkdir(exist_ok=True)
    return encode_shards(read_index(shards).shards, cfg, Settings.of(plain(cfg)))


def trained(weights: Path, shards: Path, output: Path, *words: str):
    cfg = configuration(
        weights, output, "data=shards", f"data.folder={shards}", "distill.frames=5", "distill.block_size=2",
        "data.val_clips=0", "trainer.max_steps=4", "task.operator.noise_std=0", "trainer.validate_every=0",
        "distill.encode_dtype=float32", *words,
    )  # fmt: skip
    _, objects = train(cfg)
    return load_newest(output / "checkpoints").tensors(), objects["module"]


@pytest.mark.parametrize(("task", "prepared"), [(LATENT_MASK, ()), (BLUR, BLUR)])
def test_the_student_is_the_same_and_nothing_is_encoded(
    task, prepared, weights, shards, tmp_path, monkeypatch
):
    assert prepare_latents(weights, shards, *prepared) > 0
    assert prepare_latents(weights, shards, *prepared) is None  # they are there
    expected, _ = trained(weights, shards, tmp_path / "plain", *task)
    calls = []
    encode_block = LeanVAE.encode_block

    def counted(self, *arguments):
        calls.append(1)
        return encode_block(self, *arguments)

    monkeypatch.setattr(LeanVAE, "encode_block", counted)
    found, module = trained(weights, shards, tmp_path / "run", *task, "data.latents=true")
    assert not calls
    latents = module.clip_latents if task is LATENT_MASK else module.latent_cache
    assert latents.read == 4
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-5, rtol=1e-4, msg=key)


def test_latents_of_something_else_are_one_sentence(weights, shards, tmp_path):
    def refused(sentence: str, *words: str) -> None:
        with pytest.raises(UserError, match=sentence) as error:
            trained(weights, shards, tmp_path / "run", *words, "data.latents=true")
        assert "\n" not in str(error.value)

    refused("holds no latents", *BLUR)
    prepare_latents(weights, shards, *BLUR)
    refused("content=measurements, and this training has content=clips", *LATENT_MASK)
    refused("operator.sigma=3.0, and this training has operator.sigma=2", *BLUR, "task.operator.sigma=2")  # fmt: skip
    refused("x_init=pinv", *BLUR, "distill.x_init=pinv")
    prepare_latents(weights, shards)
    other = LeanVAE(low_width=16, high_width=16, branch_layers=1, fusion_layers=1, ista_layers=1)
    save_lean_vae(other, tmp_path / "other_vae")
    refused("made with vae=", *LATENT_MASK, f"model.vaes.lean.source={tmp_path / 'other_vae'}")


def test_a_shard_that_was_made_again_needs_new_latents(weights, shards, tmp_path):
    prepare_latents(weights, shards)
    rewrite(shards, "train-00001.tar", members_of(7) | members_of(8), 2)
    with pytest.raises(UserError, match=r"no latents of train-00001.tar .*1 of 2"):
        trained(weights, shards, tmp_path / "run", *LATENT_MASK, "data.latents=true")
    prepare_latents(weights, shards)
    trained(weights, shards, tmp_path / "run", *LATENT_MASK, "data.latents=true")


@pytest.mark.parametrize("words", [("task=inpaint",), ("task=deblur", "task.operator.noise_std=0.1")])  # fmt: skip
def test_measurements_that_are_drawn_anew_are_refused(words, weights, shards):
    with pytest.raises(UserError, match="latents=true keeps one z of each measurement"):
        prepare_latents(weights, shards, *words)


def test_fewer_frames_are_the_first_latents(weights, shards):
    prepare_latents(weights, shards)
    vae = load_lean_vae(str(weights / "lean_vae"))
    facts = facts_of(digest(vae.state_dict()), [32, 32], 5)
    index = read_index(shards)
    both, first = (ShardLatents(shards, index, facts, frames).latents([2, 0]) for frames in (2, 1))
    assert both.shape == (2, 16, 2, 4, 4)
    assert torch.equal(first, both[:, :, :1])
