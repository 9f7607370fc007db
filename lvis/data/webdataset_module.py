"""The LightningDataModule over webdataset shards, such as Open-Sora's: local files, HTTP, brace patterns."""

import hashlib
import logging
import warnings
from collections.abc import Sequence
from typing import Any

from lvis.data.resumable import ResumableDataModule, require_least
from lvis.data.shard_module import ShardLoader
from lvis.data.shards import Budget
from lvis.data.webdataset_stream import ClipSettings, Validation, WebDatasetStream, expand
from lvis.errors import UserError

log = logging.getLogger(__name__)


class WebDatasetModule(ResumableDataModule):
    """Endless clips from shards of `.mp4` files with captions in `.txt` or `.json`.

    Batches are {"video": float32 (B, 3, T, H, W) in [-1, 1], "prompt": list of B str, "index": int64
    (B,) hashes of shard and key, "loader": see `ShardLoader`} and, where a sample has a `.safetensors`
    as `lvis.prepare` writes it, "embedding": list of B (L, D) or None.

    Training resumes at the exact sample with the same number of ranks and workers, by passing over
    those before; other numbers deal the shards in another way.

    Args:
        urls: Paths or http(s) URLs, with brace patterns: `clips-{000..099}.tar`.
        val_urls: Shards for validation; None takes the last of `urls` and does not train on it.
        size: Height and width in pixels: larger clips are shrunk and cropped, smaller ones not used.
        frames: Frames per clip, T, from the start of each; shorter clips are not used.
        rate: Frames per second to take; None takes every frame.
        resampled: Draw shards with replacement instead of reading each once per pass.
        shuffle: Samples in each worker's buffer, in which they are mixed.
        batch_size: Clips per batch and rank.
        num_workers: Processes that read and decode; 0 does it in the training process.
        seed: Seed of the order.
        val_clips: The first clips of the validation shards; 0 for none.
        max_bad: Share of the samples, and of the shards, that may be unusable before training stops.
        min_bad: This many samples may be unusable whatever their share.

    Raises:
        UserError: an argument is out of range, a shard does not exist, or there are fewer shards than
            readers.
    """

    def __init__(
        self,
        urls: str | Sequence[str] = (),
        val_urls: str | Sequence[str] | None = None,
        size: Sequence[int] = (480, 832),
        frames: int = 81,
        rate: float | None = None,
        resampled: bool = False,
        shuffle: int = 100,
        batch_size: int = 1,
        num_workers: int = 2,
        seed: int = 0,
        val_clips: int = 8,
        max_bad: float = 0.05,
        min_bad: int = 8,
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
        if rate is not None and rate <= 0:
            raise UserError(
                f"data.rate is {rate}: give frames per second, or null for every frame."
            )
        self.urls = expand(urls)
        self.val_urls = [] if val_urls is None else expand(val_urls, "data.val_urls")
        if val_clips and not self.val_urls:
            if len(self.urls) < 2:
                raise UserError(
                    "data.urls has one shard, and none is left for validation: give data.val_urls, "
                    "or set data.val_clips=0"
                )
            self.val_urls = [self.urls.pop()]
        self.clips = ClipSettings(
            (int(size[0]), int(size[1])), frames, rate, Budget(max_bad, min_bad)
        )
        self.resampled, self.shuffle, self.seed = resampled, shuffle, seed
        self.batch_size, self.num_workers, self.val_clips = batch_size, num_workers, val_clips
        about = repr((self.urls, self.clips.size, frames, rate, resampled, shuffle, seed))
        self.identity = f"webdataset {hashlib.sha256(about.encode()).hexdigest()}"

    def train_dataloader(self) -> ShardLoader:
        # Lightning cannot know that Steps splits the steps among its workers
        warnings.filterwarnings("ignore", message="Your `IterableDataset` has `__len__` defined")
        rank, world_size = self.ranks()
        readers = world_size * max(self.num_workers, 1)
        if not self.resampled and len(self.urls) < readers:
            raise UserError(
                f"data.urls has {len(self.urls)} shards to train on for {readers} readers (ranks x "
                "data.num_workers): lower data.num_workers, or set data.resampled=true"
            )
        if self.position:
            log.info("resuming: the first %d samples are skipped", self.position)
        self.stream = WebDatasetStream(
            self.urls,
            self.clips,
            self.seed,
            self.shuffle,
            self.resampled,
            self.batch_size,
            rank,
            world_size,
        )
        self.stream.first = self.position
        return ShardLoader(self.stream, self.num_workers)

    def val_dataloader(self) -> ShardLoader | list[Any]:
        if not self.val_clips:
            return []
        return ShardLoader(Validation(self.val_urls, self.clips, self.val_clips, *self.ranks()))
