"""The layout of a folder of shards: which files, which members, and the index that describes them."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lvis.errors import UserError
from lvis.files import write_text

FORMAT, VERSION = "lvis-shards", 1
INDEX = "index.json"
TRAIN, HELD_OUT = "train", "held_out"
SPLITS = (TRAIN, HELD_OUT)
VIDEO_EXTENSIONS = ("mp4", "mkv")
METADATA_EXTENSION, EMBEDDING_EXTENSION = "json", "safetensors"
VIDEO_CHECKSUM = "video_crc32"  # metadata: CRC-32 of the video member; older shards have none
EMBEDDING = "embedding"  # name of the tensor (L, D) inside the .safetensors member


@dataclass(frozen=True)
class Shard:
    """One tar of whole samples: its file name, split, number of samples, bytes and sha256."""

    name: str
    split: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Index:
    """What `index.json` says of a folder of shards."""

    settings: dict[str, Any]
    shards: tuple[Shard, ...]
    clips: dict[str, int] = field(default_factory=dict)

    def of(self, split: str) -> tuple[Shard, ...]:
        """The shards of one split, by name."""
        return tuple(
            sorted((s for s in self.shards if s.split == split), key=lambda shard: shard.name)
        )


def split_of(source_sha256: str, held_out: float) -> str:
    """The split of a source: a function of its content only, so that adding data moves nothing.

    Args:
        source_sha256: Hex digest of the source file.
        held_out: Share of the sources to hold out, in [0, 1).
    """
    return HELD_OUT if int(source_sha256[:8], 16) / 2**32 < held_out else TRAIN


def shard_name(split: str, number: int) -> str:
    """`train-00000.tar`."""
    return f"{split}-{number:05d}.tar"


def write_index(folder: str | Path, index: Index) -> None:
    """Write `index.json` in one step; `clips` is counted from the shards."""
    clips = {split: sum(shard.samples for shard in index.of(split)) for split in SPLITS}
    document = {
        "format": FORMAT,
        "version": VERSION,
        "settings": index.settings,
        "clips": clips,
        "shards": [asdict(shard) for split in SPLITS for shard in index.of(split)],
    }
    write_text(Path(folder) / INDEX, json.dumps(document, indent=1) + "\n")


def read_index(folder: str | Path) -> Index:
    """The index of a folder of shards.

    Raises:
        UserError: no folder, no index, or an index that is not ours.
    """
    path = Path(folder) / INDEX
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} has no {INDEX}: make shards with python -m lvis.prepare"
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): run lvis.prepare again") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(f"{path} is not an index of lvis shards: run lvis.prepare again")
    if document.get("version") != VERSION:
        raise UserError(
            f"{path} has version {document.get('version')}, this lvis reads {VERSION}: "
            "run lvis.prepare again"
        )
    try:
        shards = tuple(Shard(**entry) for entry in document["shards"])
        settings, clips = document["settings"], document["clips"]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): run lvis.prepare again") from error
    for shard in shards:
        if Path(shard.name).name != shard.name or shard.split not in SPLITS:
            raise UserError(f"{path} names a shard {shard.name!r} outside of its folder")
    return Index(settings, shards, clips)
