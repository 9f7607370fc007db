"""Faults of what a training reads: its shards and its weights."""

import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import training as t
from promised import USER_ERROR, Outcome, Scenario
from shards import FIRST, folder_of_shards, left_out, train_on

from lvis.data.shard_reader import ShardReader, open_folder
from lvis.files import sha256_of

COMMIT = "a" * 40


def bad_shard(weights: Path, folder: Path, hurt: Callable[[Path], object]) -> Outcome:
    """One of three shards is hurt; training goes on with the clips of the others, and says so once."""
    shards = folder_of_shards(folder)
    hurt(shards / FIRST)
    ended = train_on(weights, folder, shards)
    assert ended.status == 0, ended.said[-2000:]
    reason = left_out(folder, FIRST)
    assert t.steps_done(folder / "run") == 4
    return Outcome(f"went on with the other shards' clips, and said once: {reason}", 0)


def flipped_bit(weights: Path, folder: Path) -> Outcome:
    """One bit flips inside a clip's video, which still decodes to something."""
    shards = folder_of_shards(folder)
    place, index = open_folder(shards)
    reader = ShardReader(place, index.of("train"))
    key, members = reader.members(0, 0)
    reader.close()
    video = members["mp4"]
    content = bytearray((shards / FIRST).read_bytes())
    content[video.offset + video.size * 3 // 4] ^= 1 << random.randrange(8)
    (shards / FIRST).write_bytes(content)
    ended = train_on(weights, folder, shards, "trainer.max_steps=8")
    assert ended.status == 0, ended.said[-2000:]
    reason = left_out(folder, key)
    return Outcome(f"another clip took its place, and it was said once: it {reason}", 0)


def nothing_left(weights: Path, folder: Path) -> Outcome:
    """Every shard is cut in half, so that no clip can be read."""
    shards = folder_of_shards(folder)
    for path in shards.glob("*.tar"):
        truncate(path)
    ended = train_on(weights, folder, shards)
    sentence = t.last_sentence(ended.said)
    assert ended.status == USER_ERROR and "could not be used" in sentence, ended.said[-2000:]
    assert "Traceback" not in ended.said
    return Outcome(
        "ended with status 2 and one sentence when the budget of bad clips was used", None
    )


def wrong_hash(weights: Path, folder: Path) -> Outcome:
    """A bit of the teacher flips in the hub's cache, after a first run that used it."""
    repo = folder / "hub" / "models--lvis--teacher"
    snapshot = repo / "snapshots" / COMMIT
    shutil.copytree(weights / "teacher", snapshot)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    (repo / "blobs").mkdir()
    file = snapshot / "diffusion_pytorch_model.safetensors"
    blob = repo / "blobs" / sha256_of(file)
    file.rename(blob)
    file.symlink_to(blob)
    variables = {"HF_HUB_CACHE": str(folder / "hub"), "LVIS_CACHE": str(folder / "lvis")}
    variables["HF_HUB_OFFLINE"] = "1"
    options = ("model.teacher.source=hub:lvis/teacher", "trainer.max_steps=1")
    command = t.command(weights, folder / "run", *options)
    ended = t.run(command, variables=variables)
    assert ended.status == 0, ended.said[-2000:]
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    ended = t.run([*command, "trainer.max_steps=2"], variables=variables)
    sentence = t.last_sentence(ended.said)
    assert ended.status == USER_ERROR and "has sha256" in sentence, ended.said[-2000:]
    assert "Traceback" not in ended.said and t.steps_done(folder / "run") == 1
    return Outcome("ended with status 2 and one sentence before any of it was loaded", 0)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def fill_with_garbage(path: Path) -> None:
    path.write_bytes(random.randbytes(path.stat().st_size))


def rename(path: Path) -> None:
    path.rename(path.with_name("renamed.tar"))


SCENARIOS: dict[str, tuple[str, Scenario]] = {
    "truncated_shard": ("a shard cut in half", partial(bad_shard, hurt=truncate)),
    "garbage_shard": ("a shard of random bytes", partial(bad_shard, hurt=fill_with_garbage)),
    "missing_shard": ("a shard missing", partial(bad_shard, hurt=os.remove)),
    "renamed_shard": ("a shard renamed", partial(bad_shard, hurt=rename)),
    "flipped_bit": ("a bit flipped in a clip", flipped_bit),
    "no_shard_left": ("every shard cut in half", nothing_left),
    "wrong_hash": ("weights with the wrong hash", wrong_hash),
}
