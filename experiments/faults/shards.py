"""Small shards for the faults of data, made by `lvis.prepare` as anyone's are, and trainings on them."""

import io
import shutil
import sys
import tarfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import training as t

from lvis.data.shard_format import Index, Shard, read_index, write_index
from lvis.data.video import VideoWriter
from lvis.files import sha256_of

FIRST = "train-00000.tar"
SOURCES, SIDE, FRAMES = 6, 32, 9  # two clips per shard: three shards


def folder_of_shards(folder: Path) -> Path:
    """A copy of the same shards for this try, in `folder`; made once beside it."""
    whole = folder.parent / "shards"
    if not (whole / "index.json").exists():
        for number in range(SOURCES):
            rng = np.random.default_rng(number)
            write_video(folder.parent / "sources" / f"{number}.mkv", _moving(rng))
        ended = t.run(
            [
                *(sys.executable, "-m", "lvis.prepare"),
                *(f"input={folder.parent / 'sources'}", f"output={whole}"),
                *(f"size=[{SIDE},{SIDE}]", f"frames={FRAMES}", "samples_per_shard=2"),
                *("workers=1", "held_out=0", "scene_cuts=keep"),
            ]
        )
        assert ended.status == 0, ended.said[-2000:]
    return Path(shutil.copytree(whole, folder / "shards"))


def train_on(weights: Path, folder: Path, shards: Path | str, *overrides: str) -> t.Ended:
    """`lvis.train data=shards` for a few steps."""
    options = ("data=shards", f"data.folder='{shards}'", "trainer.max_steps=4", *overrides)
    return t.run(t.command(weights, folder / "run", *options))


def left_out(folder: Path, name: str) -> str:
    """What the training's log says, once, of a shard or a sample that it left out."""
    logs = (folder / "run").glob("*.log")
    lines = [line for log in logs for line in log.read_text().splitlines()]
    reasons = [line for line in lines if f"{name} is left out: it " in line]
    assert len(reasons) == 1, lines
    return reasons[0].partition(" is left out: it ")[2]


def write_video(path: Path, frames: np.ndarray) -> Path:
    """uint8 (T, H, W, 3) as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, Fraction(16)) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def members(shard: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every member of a tar."""
    with tarfile.open(shard) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            yield member.name, content.read()


def rewrite(shard: Path, contents: dict[str, bytes]) -> None:
    """Another content for a shard, with an index that agrees: as one who means harm would hand it on."""
    with tarfile.open(shard, "w") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    index = read_index(shard.parent)
    samples = sum(name.endswith((".mp4", ".mkv")) for name in contents)
    entry = Shard(shard.name, "train", samples, shard.stat().st_size, sha256_of(shard))
    others = tuple(one for one in index.shards if one.name != shard.name)
    write_index(shard.parent, Index(index.settings, (entry, *others)))


def _moving(rng: np.random.Generator) -> np.ndarray:
    """Smooth frames that drift, with a little noise, so that no two bytes of a clip matter the same."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    phase, speed = rng.uniform(0, 6, 3), rng.uniform(0.1, 0.4, 3)
    time = np.arange(FRAMES)[:, None, None, None]
    waves = np.sin(rows[..., None] / 6 + columns[..., None] / 9 + phase + speed * time)
    noise = rng.uniform(-10, 10, (FRAMES, SIDE, SIDE, 3))
    return (128 + 100 * waves + noise).astype(np.uint8)
