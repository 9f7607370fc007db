"""Folders of tiny shards for the tests: 32x32, 5 frames, each clip of one grey level that names it."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import av
import numpy as np
import torch
from safetensors.torch import save

from lvis.data.shard_format import (
    HELD_OUT,
    TRAIN,
    Index,
    Shard,
    read_index,
    shard_name,
    split_of,
    write_index,
)
from lvis.files import sha256_of

SIZE, FRAMES, SHARE = (32, 32), 5, 0.25
CODECS = {"mp4": ("mp4", "libx264", "yuv420p"), "mkv": ("matroska", "ffv1", "bgr0")}


def grey(clip: int) -> int:
    """The level of clip number `clip`, far enough from the next for H.264."""
    return 16 + 8 * (clip % 26)


def encode(level: int, extension: str = "mp4", size=SIZE, frames: int = FRAMES, noise=0) -> bytes:
    """A clip of one level (with noise around it) as a file."""
    container, codec, pixels = CODECS[extension]
    rng = np.random.default_rng(level)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=16)
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], pixels
        for _ in range(frames):
            frame = np.full((*size, 3), level, np.int64) + rng.integers(0, noise + 1, (*size, 3))
            picture = av.VideoFrame.from_ndarray(
                frame.clip(0, 255).astype(np.uint8), format="rgb24"
            )
            file.mux(stream.encode(picture.reformat(format=pixels)))
        file.mux(stream.encode(None))
    return buffer.getvalue()


def source_of(clip: int, split: str) -> str:
    """The sha256 of a made-up source that falls into `split`."""
    attempts = (hashlib.sha256(f"{clip}-{n}".encode()).hexdigest() for n in range(1000))
    return next(digest for digest in attempts if split_of(digest, SHARE) == split)


def members_of(clip: int, split: str = TRAIN, extension: str = "mp4", embedding: bool = False):
    """The members of one sample by name; the caption names the clip."""
    source = source_of(clip, split)
    key = f"{source[:12]}_{clip:05d}"
    metadata = {
        "caption": f"clip {clip}",
        "source": f"{clip}.mp4",
        "source_sha256": source,
        "start": 0.0,
        "fps": 16.0,
        "frames": FRAMES,
        "height": SIZE[0],
        "width": SIZE[1],
    }
    members = {
        f"{key}.{extension}": encode(grey(clip), extension),
        f"{key}.json": json.dumps(metadata).encode(),
    }
    if embedding:
        members[f"{key}.safetensors"] = save({"embedding": torch.full((3, 4), float(clip))})
    return members


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def describe(path: Path, split: str, samples: int) -> Shard:
    return Shard(path.name, split, samples, path.stat().st_size, sha256_of(path))


def write_folder(folder: Path, shards=(4, 3, 4), held_out=(3,), embedding=False) -> Path:
    """A folder with this many samples in each shard; held-out clips are numbered from 1000."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for split, counts, clip in ((TRAIN, shards, 0), (HELD_OUT, held_out, 1000)):
        for number, count in enumerate(counts):
            members = {}
            for _ in range(count):
                extension = "mkv" if clip % 3 == 0 else "mp4"
                members |= members_of(clip, split, extension, embedding and clip % 2 == 0)
                clip += 1
            path = folder / shard_name(split, number)
            write_tar(path, members)
            entries.append(describe(path, split, count))
    settings = {"size": list(SIZE), "frames": FRAMES, "held_out": SHARE}
    write_index(folder, Index(settings, tuple(entries)))
    return folder


def rewrite(folder: Path, name: str, members: dict[str, bytes], samples: int) -> None:
    """Replace a shard by other members, with an index that agrees."""
    write_tar(folder / name, members)
    index = read_index(folder)
    entries = [
        describe(folder / name, entry.split, samples) if entry.name == name else entry
        for entry in index.shards
    ]
    write_index(folder, Index(index.settings, tuple(entries)))
