"""The LightningDataModule over clips by number, resumable to the exact clip; that of synthetic clips."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, default_collate

from lvis.data.resumable import ResumableDataModule, require_least
from lvis.data.steps import Steps
from lvis.data.synthetic import SyntheticVideos
from lvis.data.workers import begin_worker


class Clips(Protocol):
    """Clips by number, each {"video": (3, T, H, W), "prompt": str, "index": int}."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> dict[str, Any]: ...


class StepStream(Steps):
    """Batches of clips in the order of the steps; number n is clip `first_clip` + n."""

    def __init__(
        self,
        videos: Clips,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        first_clip: int = 0,
        to_the_end: bool = False,
    ) -> None:
        super().__init__(len(videos) - first_clip, batch_size, rank, world_size, to_the_end)
        self.videos, self.first_clip = videos, first_clip

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for numbers in self.numbers():
            clips = [self.videos[self.first_clip + number % self.samples] for number in numbers]
            yield self.marked(default_collate(clips), numbers)


class ClipDataModule(ResumableDataModule):
    """Endless clips by number for training, a fixed set of others for validation.

    Batches are {"video": float32 (B, 3, T, H, W) in [-1, 1], "prompt": list of B str, "index":
    int64 (B,)}.

    Args:
        train_videos: Clips for training: {"video", "prompt", "index"} by number.
        val_videos: Those for validation, `val_clips` of them.
        batch_size: Clips per batch and rank.
        num_workers: Processes that make the training clips; 0 makes them in the training process.
        val_clips: Clips in the validation set, each of which counts once, whatever the number of ranks; 0 for none.
        start_index: Number of the first training clip.
    """

    def __init__(
        self,
        train_videos: Clips,
        val_videos: Clips,
        batch_size: int,
        num_workers: int,
        val_clips: int,
        start_index: int = 0,
    ) -> None:
        super().__init__()
        require_least(
            batch_size=(batch_size, 1), num_workers=(num_workers, 0), val_clips=(val_clips, 0)
        )
        self.train_videos, self.val_videos = train_videos, val_videos
        self.batch_size, self.num_workers, self.val_clips = batch_size, num_workers, val_clips
        self.start_index = start_index

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        # Lightning cannot know that StepStream splits the steps among its workers
        warnings.filterwarnings("ignore", message="Your `IterableDataset` has `__len__` defined")
        self.stream = StepStream(
            self.train_videos, self.batch_size, *self.ranks(), first_clip=self.start_index
        )
        self.stream.first = self.position
        return DataLoader(
            self.stream,
            batch_size=None,
            num_workers=self.num_workers,
            worker_init_fn=begin_worker,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader[dict[str, Any]] | list[Any]:
        if not self.val_clips:
            return []
        stream = StepStream(self.val_videos, 1, *self.ranks(), to_the_end=True)
        return DataLoader(stream, batch_size=None)


class VideoDataModule(ClipDataModule):
    """Endless synthetic clips for training, a fixed set from other photographs for validation.

    Args:
        size: Height and width in pixels.
        frames: Frames per clip, T.
        batch_size: Clips per batch and rank.
        num_workers: Processes that render the training clips; 0 renders in the training process.
        seed: Seed of all clips; validation has a stream of its own under the same seed.
        val_clips: Clips in the validation set (see `ClipDataModule`); 0 for none.
        start_index: Number of the first training clip.

    Raises:
        UserError: An argument is out of range.
    """

    identity = "synthetic"

    def __init__(
        self,
        size: Sequence[int] = (128, 128),
        frames: int = 33,
        batch_size: int = 1,
        num_workers: int = 0,
        seed: int = 0,
        val_clips: int = 8,
        start_index: int = 0,
    ) -> None:
        require_least(start_index=(start_index, 0))
        super().__init__(
            SyntheticVideos(seed, frames, size, "train"),
            SyntheticVideos(seed, frames, size, "val", max(val_clips, 1)),
            batch_size,
            num_workers,
            val_clips,
            start_index,
        )
