"""Small folders of synthetic videos, and a way to run the command on them."""

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lvis.cli.config import compose
from lvis.data.shard_format import Index
from lvis.data.video import VideoWriter
from lvis.prepare.command import prepare

SIDE = 32
RATE = Fraction(16)
SMALL = ("size=[32,32]", "frames=5", "fps=16", "samples_per_shard=2", "workers=1", "held_out=0.3")


def moving(frames: int, seed: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Smooth frames that drift, uint8 (T, H, W, 3); other seeds look otherwise."""
    rng = np.random.default_rng(seed)
    phase, step = rng.uniform(0, 6, 3), rng.uniform(0.1, 0.4, 3)
    rows, columns = np.mgrid[:height, :width]
    time = np.arange(frames)[:, None, None, None]
    waves = np.sin(rows[None, ..., None] / 6 + columns[None, ..., None] / 9 + phase + step * time)
    return (128 + 100 * waves).astype(np.uint8)


def write_video(path: Path, frames: np.ndarray, rate: Fraction = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, rate) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def write_frames(folder: Path, frames: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number}.png")
    return folder


def make_videos(root: Path) -> Path:
    """Four good sources (one a folder of images) and a duplicate, a garbage and a short one."""
    write_video(root / "a.mkv", moving(11, 1))
    write_video(root / "deep" / "b.mp4", moving(16, 2, 48, 64))
    write_video(root / "c.mkv", moving(10, 3))
    write_frames(root / "d", moving(12, 4))
    (root / "a.txt").write_text("waves that drift\n")
    shutil.copy(root / "a.mkv", root / "copy_of_a.mkv")
    (root / "garbage.mp4").write_bytes(bytes(range(256)) * 8)
    write_video(root / "short.mp4", moving(3, 5))
    return root


def run(source: Path, output: Path, *overrides: str) -> Index | None:
    """The command on `input=source`; returns its index."""
    words = [f"input={source}", f"output={output}", *SMALL, *overrides]
    return prepare(compose("prepare", words))


@pytest.fixture
def videos(tmp_path) -> Path:
    return make_videos(tmp_path / "videos")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """The shards of `make_videos`, for tests that only read them."""
    folder = tmp_path_factory.mktemp("prepared")
    run(make_videos(folder / "videos"), folder / "data")
    return folder / "data"


def digests(folder: Path) -> dict[str, bytes]:
    """Every file that a reader of the shards sees."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
