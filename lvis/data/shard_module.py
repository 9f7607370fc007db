"""The LightningDataModule over shards of real clips, resumable to the exact clip."""

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from lvis.data.resumable import ResumableDataModule, require_least
from lvis.data.shard_format import HELD_OUT, INDEX, TRAIN
from lvis.data.shard_order import ShardOrder
from lvis.data.shard_reader import VERIFICATIONS, open_folder
from lvis.data.shards import Budget, ClipShape, ShardStream
from lvis.data.steps import Steps
from lvis.data.workers import begin_worker
from lvis.errors import UserError
from lvis.files import sha256_of

log = logging.getLogger(__name__)


class ShardLoader(DataLoader[dict[str, Any]]):
    """Batches of a ShardStream, or of one like it, as training takes them; says once what was found bad.

    Videos become float32 (B, 3, T, H, W) in [-1, 1]. "loader" holds, over all workers since the
    iteration began: clips, bad, drawn, clips_per_second and megabytes_per_second (1e6 bytes as
    stored) that the workers make while they work, and waited, the seconds that this process waited
    for batches.

    `bad` is what was found bad, name -> reason.

    Raises:
        UserError: while iterating, what a worker found.
    """

    def __init__(self, stream: Steps, num_workers: int = 0) -> None:
        super().__init__(
            stream, batch_size=None, num_workers=num_workers, worker_init_fn=begin_worker
        )
        self.bad: dict[str, str] = {}

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        latest: dict[int, dict[str, float]] = {}
        waited = 0.0
        batches = super().__iter__()
        try:
            while True:
                began = time.perf_counter()
                batch = next(batches, None)
                waited += time.perf_counter() - began
                if batch is None:
                    return
                self._say(batch.pop("reports"))
                if "error" in batch:
                    raise UserError(batch["error"])
                counts = batch["loader"]
                latest[counts.pop("worker")] = counts
                batch["loader"] = {**summary(list(latest.values())), "waited": waited}
                if "video" in batch:
                    batch["video"] = to_floats(batch["video"])
                yield batch
        finally:
            # the workers end now and not when the traceback, which holds this frame, is forgotten
            del batches

    def _say(self, reports: Sequence[tuple[str, str]]) -> None:
        for name, reason in reports:
            if name not in self.bad:
                self.bad[name] = reason
                log.warning("%s is left out: it %s", name, reason)


def summary(workers: Sequence[dict[str, float]]) -> dict[str, float]:
    """The counts of all workers together; their rates, while they work, add up."""

    def total(name: str) -> float:
        return sum(counts[name] for counts in workers)

    def rate(name: str) -> float:
        return sum(counts[name] / counts["seconds"] for counts in workers if counts["seconds"])

    return {
        "clips": total("clips"),
        "drawn": total("drawn"),
        "bad": total("bad"),
        "clips_per_second": rate("clips"),
        "megabytes_per_second": rate("bytes") / 1e6,
    }


def to_floats(video: Tensor) -> Tensor:
    """uint8 -> float32 in [-1, 1], the same shape."""
    return video.float().div_(127.5).sub_(1)


class ShardDataModule(ResumableDataModule):
    """Endless clips from the `train` shards of a folder, a fixed set from the `held_out` ones.

    Batches are {"video": float32 (B, 3, T, H, W) in [-1, 1], "prompt": list of B str, "index":
    int64 (B,) numbers in the order of the index, "loader": see `ShardLoader`} and, where a sample
    has one, "embedding": list of B (L, D) or None.

    Args:
        folder: What `lvis.prepare` wrote.
        size: Height and width in pixels; that of the shards.
        frames: Frames a clip, T: the first frames of each clip.
        batch_size: Clips a batch and rank.
        num_workers: Processes that decode; 0 decodes in the training process.
        seed: Seed of the order.
        latents: Whether training is to read latents beside the shards (`shard_latents`).
        val_clips: The first N held-out clips validate, or all if there are fewer; 0 for none.
        shuffle: Samples that are mixed with each other (`ShardOrder`).
        verify: What is checked when a shard is opened: none, sizes, sha256.
        max_bad: Share of the samples drawn that may be bad before training stops.
        min_bad: This many may be bad whatever their share.

    Raises:
        UserError: an argument is out of range, there is no such folder, or its shards hold another
            size, shorter clips or none.
    """

    def __init__(
        self,
        folder: str | None = None,
        size: Sequence[int] = (480, 832),
        frames: int = 81,
        batch_size: int = 1,
        num_workers: int = 2,
        seed: int = 0,
        val_clips: int = 8,
        shuffle: int = 1000,
        verify: str = "sizes",
        max_bad: float = 0.05,
        min_bad: int = 8,
        latents: bool = False,
    ) -> None:
        super().__init__()
        require_least(
            batch_size=(batch_size, 1),
            frames=(frames, 1),
            num_workers=(num_workers, 0),
            seed=(seed, 0),
            val_clips=(val_clips, 0),
            shuffle=(shuffle, 0),
        )
        if verify not in VERIFICATIONS:
            raise UserError(f"data.verify is {verify!r}: use one of {', '.join(VERIFICATIONS)}.")
        self.folder, self.index = open_folder(folder)
        self.shape = self._shape((int(size[0]), int(size[1])), frames)
        self.seed, self.shuffle, self.verify = seed, shuffle, verify
        self.budget = Budget(max_bad, min_bad)
        self.latents = latents
        self.with_video = True  # false: batches to train on have no "video", which is not decoded
        self.batch_size, self.num_workers = batch_size, num_workers
        held_out = self._count(HELD_OUT)
        if val_clips and not held_out:
            raise UserError(
                f"{folder} has no held-out clips: prepare it with held_out above 0, or set "
                "data.val_clips=0"
            )
        if not self._count(TRAIN):
            raise UserError(f"{folder} has no clips to train on: run python -m lvis.prepare again")
        self.val_clips = min(val_clips, held_out)
        self.identity = f"shards {sha256_of(self.folder / INDEX)}"

    def train_dataloader(self) -> ShardLoader:
        # Lightning cannot know that Steps splits the steps among its workers
        warnings.filterwarnings("ignore", message="Your `IterableDataset` has `__len__` defined")
        self.stream = self._stream(TRAIN, self.shuffle, self.batch_size)
        self.stream.first = self.position
        self.stream.with_video = self.with_video
        return ShardLoader(self.stream, self.num_workers)

    def val_dataloader(self) -> ShardLoader | list[Any]:
        if not self.val_clips:
            return []
        stream = self._stream(HELD_OUT, 0, 1)
        stream.samples, stream.to_the_end = self.val_clips, True
        return ShardLoader(stream)

    def _stream(self, split: str, shuffle: int, batch_size: int) -> ShardStream:
        counts = [shard.samples for shard in self.index.of(split)]
        order = ShardOrder(counts, self.seed, shuffle)
        rank, world_size = self.ranks()
        return ShardStream(
            self.folder,
            self.index,
            split,
            self.shape,
            order,
            self.budget,
            self.verify,
            batch_size,
            rank,
            world_size,
        )

    def _count(self, split: str) -> int:
        return sum(shard.samples for shard in self.index.of(split))

    def _shape(self, size: tuple[int, int], frames: int) -> ClipShape:
        settings = self.index.settings
        stored = settings.get("frames", frames)
        held = settings.get("size", size)
        share = settings.get("held_out", 0)
        if not (
            isinstance(stored, int)
            and isinstance(held, list | tuple)
            and isinstance(share, int | float)
        ):
            raise UserError(
                f"the index of {self.folder} has settings of a wrong type: run lvis.prepare again"
            )
        if tuple(held) != size:
            raise UserError(
                f"data.size={list(size)} but the clips of {self.folder} are {list(held)}: prepare "
                "them in this size, or train in theirs"
            )
        if stored < frames:
            raise UserError(
                f"data.frames={frames} but the clips of {self.folder} have {stored}: prepare longer "
                "ones, or train on fewer frames"
            )
        return ClipShape(size, frames, stored)
