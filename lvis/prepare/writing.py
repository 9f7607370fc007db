"""Making a shard: a tar with the same bytes whenever it is made, and the evidence that it is whole."""

import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lvis.data.shard_format import (
    EMBEDDING,
    EMBEDDING_EXTENSION,
    METADATA_EXTENSION,
    VIDEO_CHECKSUM,
    Shard,
)
from lvis.errors import UserError
from lvis.files import remove_partial, replacing, sha256_of, write_text
from lvis.prepare.cutting import cut, fitted
from lvis.prepare.decoding import Limits, Pictures
from lvis.prepare.encoding import ClipEncoder
from lvis.prepare.planning import Piece, PlannedShard
from lvis.prepare.settings import Settings

if TYPE_CHECKING:
    # the backbone takes seconds to import, in every process
    from lvis.backbone.prompts import PromptCache

STATE = ".prepare"  # below the output: settings, survey, evidence of whole shards


def evidence_path(output: Path, shard: str) -> Path:
    return output / STATE / "done" / f"{Path(shard).stem}.json"


def read_evidence(output: Path, planned: PlannedShard, settings: Settings) -> Shard | None:
    """The shard if it is there, whole, and what the plan asks for; None if it is to be made."""
    path = evidence_path(output, planned.name)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        shard = Shard(**document["shard"])
        size = (output / planned.name).stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = document.get("plan") == planned.fingerprint(settings) and size == shard.bytes
    return shard if whole else None


def write_shard(
    planned: PlannedShard,
    settings: Settings,
    prompts: "PromptCache | None",
    advance: Callable[[int], None],
) -> Shard:
    """Make one shard in `settings.output`; it appears whole or not at all, its evidence after it.

    `advance` is called for each finished clip.

    Raises:
        UserError: the place cannot be written, or a source changed since it was surveyed.
    """
    output = Path(settings.output)
    remove_partial(output, planned.name)
    evidence_path(output, planned.name).unlink(missing_ok=True)
    with replacing(output / planned.name) as path:
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            for piece in planned.pieces:
                for key, members in _samples(piece, settings, prompts):
                    for extension, content in members.items():
                        _add(archive, f"{key}.{extension}", content)
                    advance(1)
        shard = Shard(
            planned.name, planned.split, planned.samples, path.stat().st_size, sha256_of(path)
        )
    evidence = {"plan": planned.fingerprint(settings), "shard": asdict(shard)}
    write_text(evidence_path(output, planned.name), json.dumps(evidence, indent=1) + "\n")
    return shard


def _samples(
    piece: Piece, settings: Settings, prompts: "PromptCache | None"
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, extension -> content) of each clip of a piece, in order."""
    shared: dict[str, bytes] = {}
    if prompts is not None:
        from safetensors.torch import save

        shared[EMBEDDING_EXTENSION] = save({EMBEDDING: prompts.tokens(piece.caption)})
    for position, video in _clips(piece, settings):
        facts = {
            "caption": piece.caption,
            "source": piece.name,
            "source_sha256": piece.sha256,
            "start": piece.starts[position],
            "fps": float(Fraction(piece.rate)),
            "frames": settings.frames,
            "height": settings.size[0],
            "width": settings.size[1],
            VIDEO_CHECKSUM: zlib.crc32(video),
        }
        metadata = json.dumps(facts, ensure_ascii=False).encode()
        members = {settings.extension: video, METADATA_EXTENSION: metadata, **shared}
        yield piece.key(piece.numbers[position]), members


def _clips(piece: Piece, settings: Settings) -> Iterator[tuple[int, bytes]]:
    limits = Limits(settings.max_pixels, settings.max_seconds)
    rate = Fraction(piece.rate)
    encoders: dict[int, ClipEncoder] = {}
    written = [0] * len(piece.starts)
    with Pictures(Path(piece.path), limits, settings.folder_fps) as pictures:
        convert = partial(fitted, size=settings.size, aspect=pictures.aspect)
        for clip, frame in cut(pictures, piece.starts, settings.frames, rate, convert):
            if clip not in encoders:
                encoders[clip] = ClipEncoder(
                    settings.encoding, settings.size, rate, settings.quality
                )
            encoders[clip].write(frame)
            written[clip] += 1
            if written[clip] == settings.frames:
                yield clip, encoders.pop(clip).finish()
    if any(count != settings.frames for count in written):
        raise UserError(
            f"{piece.path} is shorter than when it was surveyed; run the same command again"
        )


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    # TarInfo's defaults hold no time, owner or umask: the same content gives the same bytes
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
