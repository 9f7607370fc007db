"""Batches of real clips from tar shards: exact order, exact resume, bad data replaced and counted."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import get_worker_info

from lvis.data.resumable import require_least
from lvis.data.shard_decode import (
    EMBEDDING_BYTES,
    METADATA_BYTES,
    DecodeError,
    check_video,
    decode_embedding,
    decode_metadata,
    decode_video,
    most_video_bytes,
)
from lvis.data.shard_format import (
    EMBEDDING_EXTENSION,
    METADATA_EXTENSION,
    VIDEO_EXTENSIONS,
    Index,
    split_of,
)
from lvis.data.shard_order import Place, ShardOrder
from lvis.data.shard_reader import BadData, BadSample, ShardReader
from lvis.data.steps import Steps
from lvis.errors import UserError

ENDLESS = 2**40
MOST_TRIES = 100  # replacements of one sample


@dataclass
class Counts:
    """What one worker did since its loader began.

    `drawn` counts samples asked for, replacements included, `bad` those of them that could not be
    used, `clips` and `bytes` what was decoded in `seconds` of this worker's time.
    """

    drawn: int = 0
    bad: int = 0
    clips: int = 0
    bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Budget:
    """How much bad data is tolerated: never stops before more than `least` draws were bad, then
    above the share `share` of all draws."""

    share: float
    least: int

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UserError(f"data.max_bad is {self.share}: give a share from 0 to 1.")
        require_least(min_bad=(self.least, 0))

    def check(self, counts: Counts, last: str) -> None:
        """Raises UserError when the budget is used up."""
        if counts.bad > max(self.least, self.share * counts.drawn):
            raise UserError(
                f"{counts.bad} of {counts.drawn} samples drawn could not be used, more than "
                f"data.max_bad={self.share} allows (the last: {last}): make the shards again, or raise "
                "data.max_bad"
            )


@dataclass(frozen=True)
class ClipShape:
    """Height and width in pixels, frames taken of each clip, and the frames that are stored."""

    size: tuple[int, int]
    frames: int
    stored: int


class ShardStream(Steps):
    """Whole batches in the order of the steps (see `Steps`) and samples in that of `ShardOrder`.

    A sample that cannot be used is replaced by one that depends only on the place it had, so that
    batches keep their size and no other sample moves. Each worker keeps its own counts and holds
    them against the budget.

    Batches are {"video": uint8 (B, 3, T, H, W), "prompt": list of B str, "index": int64 (B,) the
    samples' numbers in the order of the index, "loader": Counts as a dict with "worker", "reports":
    what was found bad since the last batch, (name, reason)}, and "embedding": list of B (L, D) or
    None, where a sample has one. In a worker, a UserError comes as the last batch, {"error": str}:
    DataLoader would wrap its sentence in a traceback. With `with_video` set to False there is no
    "video", and none is read.

    Args:
        folder, index: From `open_folder`.
        split: "train" or "held_out".
        shape: Of the clips.
        order: Over the shards of the split.
        budget: Of bad draws.
        verify: See `ShardReader`.
        batch_size, rank, world_size, samples: See `Steps`.

    Raises:
        UserError: while iterating, the budget is used up or no replacement can be used.
    """

    def __init__(
        self,
        folder: Path,
        index: Index,
        split: str,
        shape: ClipShape,
        order: ShardOrder,
        budget: Budget,
        verify: str = "sizes",
        batch_size: int = 1,
        rank: int = 0,
        world_size: int = 1,
        samples: int = ENDLESS,
    ) -> None:
        super().__init__(samples, batch_size, rank, world_size)
        self.folder, self.split, self.verify = folder, split, verify
        self.shards = index.of(split)
        self.held_out = index.settings.get("held_out")
        self.shape, self.order, self.budget = shape, order, budget
        self.with_video = True

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        sampler = _Sampler(self)
        try:
            for numbers in self.numbers():
                samples = [sampler.sample(number % self.samples) for number in numbers]
                batch = self.marked(collate(samples), numbers)
                batch["loader"] = {"worker": worker.id if worker else 0, **asdict(sampler.counts)}
                batch["reports"] = sampler.take_reports()
                yield batch
        except UserError as error:
            if worker is None:
                raise
            yield {"error": str(error), "reports": sampler.take_reports()}
        finally:
            sampler.reader.close()


class _Sampler:
    """One iteration's state: the open shards, the counts, and what was reported already."""

    def __init__(self, stream: ShardStream) -> None:
        self.stream = stream
        self.reader = ShardReader(stream.folder, stream.shards, stream.verify)
        self.counts = Counts()
        self._reported: set[str] = set()
        self._reports: list[tuple[str, str]] = []

    def sample(self, number: int) -> dict[str, Any]:
        order = self.stream.order
        began = time.perf_counter()
        try:
            for attempt in range(MOST_TRIES):
                place = order.replacement(number, attempt) if attempt else order.at(number)
                self.counts.drawn += 1
                try:
                    sample = self._decode(place)
                except BadData as error:
                    self._note(error)
                    continue
                self.counts.clips += 1
                return sample
        finally:
            self.counts.seconds += time.perf_counter() - began
        raise UserError(
            f"none of {MOST_TRIES} samples drawn in a row from {self.stream.folder} could be used: "
            "make the shards again with python -m lvis.prepare"
        )

    def take_reports(self) -> list[tuple[str, str]]:
        """What was found bad since this was last asked, each file once."""
        reports, self._reports = self._reports, []
        return reports

    def _note(self, error: BadData) -> None:
        self.counts.bad += 1
        if error.name not in self._reported:
            self._reported.add(error.name)
            self._reports.append((error.name, str(error)))
        self.stream.budget.check(self.counts, f"{error.name} {error}")

    def _decode(self, place: Place) -> dict[str, Any]:
        stream, shape = self.stream, self.stream.shape
        key, members = self.reader.members(place.shard, place.position)
        name = f"{stream.shards[place.shard].name}:{key}"

        def read(extension: str, most: int) -> bytes:
            if extension not in members:
                raise DecodeError(f"has no {extension}")
            if members[extension].size > most:
                raise DecodeError(
                    f"has {members[extension].size} bytes of {extension}, more than {most}"
                )
            content = self.reader.read(place.shard, members[extension])
            self.counts.bytes += len(content)
            return content

        try:
            metadata = decode_metadata(
                read(METADATA_EXTENSION, METADATA_BYTES), shape.stored, shape.frames
            )
            if stream.held_out is not None:
                split = split_of(metadata["source_sha256"], stream.held_out)
                if split != stream.split:
                    raise DecodeError(f"belongs to the split {split}, not {stream.split}")
            sample = {"prompt": metadata["caption"], "index": stream.order.identity(place)}
            if stream.with_video:
                extension = next(e for e in VIDEO_EXTENSIONS if e in members)
                content = read(extension, most_video_bytes(shape.size, metadata["frames"]))
                check_video(content, metadata)
                sample["video"] = decode_video(content, extension, shape.size, shape.frames)
            if EMBEDDING_EXTENSION in members:
                sample["embedding"] = decode_embedding(read(EMBEDDING_EXTENSION, EMBEDDING_BYTES))
        except DecodeError as error:
            raise BadSample(name, str(error)) from error
        return sample


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch of samples; videos stay uint8, a quarter of what float32 needs between processes."""
    batch: dict[str, Any] = {
        "prompt": [sample["prompt"] for sample in samples],
        "index": torch.tensor([sample["index"] for sample in samples], dtype=torch.int64),
    }
    if all("video" in sample for sample in samples):
        batch["video"] = torch.stack([torch.from_numpy(sample["video"]) for sample in samples])
    if any("embedding" in sample for sample in samples):
        batch["embedding"] = [sample.get("embedding") for sample in samples]
    return batch
