"""Latents beside shards, made once by `lvis.prepare latents=true`, so that a training need not encode.

DATA/latents/DIGEST/facts.json says what they are; one safetensors file per shard has a float32 tensor (C, t, h, w)
per sample, by its position, and the sha256 of the shard that it was made of.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lvis.data.shard_format import TRAIN, Index, Shard
from lvis.errors import UserError
from lvis.files import replacing, write_text

LATENTS, FACTS, SHARD = "latents", "facts.json", "shard_sha256"
CLIPS, MEASUREMENTS = "clips", "measurements"
# what may differ: latents that were encoded in float32 serve a training that encodes in bfloat16
PRECISION = "encode_dtype"

_AGAIN = "make them with python -m lvis.prepare latents=true, with this model, vae and task"


def facts_of(
    vae: str, size: Sequence[int], frames: int, operator: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What latents depend on beside the shards; they must agree in all of it.

    Args:
        vae: digest of its weights.
        size, frames: of the clips that were encoded.
        operator: the configuration of A, where E(lift(A x)) was encoded and not E(x).
    """
    facts = {"vae": vae, "size": list(size), "frames": frames}
    if operator is None:
        return {"content": CLIPS, **facts}
    about = {f"operator.{key}": value for key, value in operator.items()}
    return {"content": MEASUREMENTS, **facts, **about}


def open_latents(folder: Path, facts: dict[str, Any], precision: str) -> Path:
    """The folder for latents of these facts, new or begun.

    Raises:
        UserError: it cannot be written.
    """
    text = json.dumps({**facts, PRECISION: precision}, indent=1)
    place = folder / LATENTS / hashlib.sha256(text.encode()).hexdigest()[:16]
    write_text(place / FACTS, text + "\n")
    return place


def file_of(place: Path, shard: Shard) -> Path:
    return place / f"{Path(shard.name).stem}.safetensors"


def is_made(place: Path, shard: Shard) -> bool:
    """Whether the latents of a shard are there, made of the shard as it is."""
    try:
        with safe_open(file_of(place, shard), "pt") as file:
            return (file.metadata() or {}).get(SHARD) == shard.sha256
    except (OSError, SafetensorError):
        return False


def write_latents(place: Path, shard: Shard, latents: Sequence[Tensor]) -> None:
    """All latents of a shard, in the order of its samples.

    Raises:
        UserError: the folder cannot be written.
    """
    tensors = {str(n): one.float().cpu().contiguous() for n, one in enumerate(latents)}
    with replacing(file_of(place, shard)) as partial:
        save_file(tensors, partial, {"format": "pt", SHARD: shard.sha256})


class ShardLatents:
    """Latents of the clips to train on, by their number in the order of the index.

    Args:
        folder, index: of the shards, from `open_folder`.
        facts: what is wanted (`facts_of`).
        frames: latent frames per clip, T = 1 + 4 (frames - 1); the first ones, where more are stored.

    Attributes:
        read: clips so far.

    Raises:
        UserError: there are none, or they are of another VAE, size, operator or shard.
    """

    def __init__(self, folder: Path, index: Index, facts: dict[str, Any], frames: int) -> None:
        self.place = _matching(folder, facts)
        self.shards = index.of(TRAIN)
        self.frames = frames
        self.read = 0
        self._offsets = np.cumsum((0, *(shard.samples for shard in self.shards)))
        missing = [shard.name for shard in self.shards if not is_made(self.place, shard)]
        if missing:
            raise UserError(
                f"{folder} has no latents of {missing[0]} as it is now ({len(missing)} of "
                f"{len(self.shards)} shards): {_AGAIN}"
            )

    def latents(self, clips: Sequence[int], encode: Callable[[], Tensor] | None = None) -> Tensor:
        """(B, C, t, h, w), float32 on the CPU.

        Args:
            encode: not called; a cache that fills as it goes takes the same arguments.

        Raises:
            UserError: a file is damaged.
        """
        self.read += len(clips)
        return torch.stack([self._one(clip) for clip in clips])

    def _one(self, clip: int) -> Tensor:
        number = int(np.searchsorted(self._offsets, clip, side="right")) - 1
        shard, position = self.shards[number], clip - int(self._offsets[number])
        path = file_of(self.place, shard)
        try:
            with safe_open(path, "pt") as file:
                return file.get_slice(str(position))[:, : self.frames]
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path} is damaged ({error}): remove it, and {_AGAIN}") from error


def _matching(folder: Path, wanted: dict[str, Any]) -> Path:
    """The latents that agree with `wanted`, else a sentence on what differs least."""
    closest: tuple[int, str, Any] | None = None
    for place, found in _stored(folder):
        keys = [*wanted, *(key for key in found if key not in wanted and key != PRECISION)]
        different = [key for key in keys if found.get(key) != wanted.get(key)]
        if not different:
            return place
        if closest is None or len(different) < closest[0]:
            closest = (len(different), different[0], found.get(different[0]))
    if closest is None:
        raise UserError(f"{folder} holds no latents, and data.latents=true reads them: {_AGAIN}")
    _, key, there = closest
    raise UserError(
        f"the latents in {folder} were made with {key}={_short(there)}, and this training has "
        f"{key}={_short(wanted.get(key))}: {_AGAIN}"
    )


def _stored(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted((folder / LATENTS).glob(f"*/{FACTS}")):
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(facts, dict):
            yield path.parent, facts


def _short(value: Any) -> str:
    # of a digest, as much as tells two apart
    return value[:12] if isinstance(value, str) and len(value) == 64 else str(value)
