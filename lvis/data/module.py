"""The LightningDataModule over synthetic clips, resumable to the exact clip."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, default_collate

from lvis.data.steps import Steps
from lvis.data.synthetic import SyntheticVideos
from lvis.errors import UserError


class StepStream(Steps):
    """Batches of clips in the order of the steps; number n is clip `first_clip` + n."""

    def __init__(
        self,
        videos: SyntheticVideos,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        first_clip: int = 0,
    ) -> None:
        super().__init__(len(videos) - first_clip, batch_size, rank, world_size)
        self.videos, self.first_clip = videos, first_clip

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for numbers in self.numbers():
            yield default_collate([self.videos[self.first_clip + number] for number in numbers])


def use_one_thread(worker_id: int) -> None:
    """OpenCV's own threads would compete with the training step for the same cores."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


class VideoDataModule(LightningDataModule):
    """Endless synthetic clips for training, a fixed set from other photographs for validation.

    Batches are {"video": float32 (B, 3, T, H, W) in [-1, 1], "prompt": list of B str, "index":
    int64 (B,)}.

    Args:
        size: Height and width in pixels.
        frames: Frames a clip, T.
        batch_size: Clips a batch and rank.
        num_workers: Processes that render the training clips; 0 renders in the training process.
        seed: Seed of all clips; validation has a stream of its own under the same seed.
        val_clips: Clips in the validation set, shared out equally: what does not divide by the
        number of ranks is
            left out, because ranks with unequal shares would wait for each other. 0 for none.
        start_index: Number of the first training clip.

    Raises:
        UserError: An argument is out of range.
    """

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
        super().__init__()
        if batch_size < 1:
            raise UserError(f"data.batch_size is {batch_size}: use 1 or more.")
        for name, value in (
            ("num_workers", num_workers),
            ("val_clips", val_clips),
            ("start_index", start_index),
        ):
            if value < 0:
                raise UserError(f"data.{name} is {value}: it may not be negative.")
        self.batch_size, self.num_workers, self.val_clips = batch_size, num_workers, val_clips
        self.start_index = start_index
        self.position = 0
        self.train_videos = SyntheticVideos(seed, frames, size, "train")
        self.val_videos = SyntheticVideos(seed, frames, size, "val", max(val_clips, 1))
        self.stream: StepStream | None = None

    def ranks(self) -> tuple[int, int]:
        """This process's rank and the number of ranks; (0, 1) without a Trainer."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def set_position(self, step: int) -> None:
        """Lets training go on after `step` batches; takes effect when the loader is next iterated.

        Raises:
            UserError: `step` is negative.
        """
        if step < 0:
            raise UserError(f"the data position is {step}: it may not be negative.")
        self.position = step
        if self.stream is not None:
            self.stream.start = step

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        # Lightning cannot know that StepStream shares the steps out among its workers
        warnings.filterwarnings("ignore", message="Your `IterableDataset` has `__len__` defined")
        self.stream = StepStream(
            self.train_videos, self.batch_size, *self.ranks(), first_clip=self.start_index
        )
        self.stream.start = self.position
        return DataLoader(
            self.stream,
            batch_size=None,
            num_workers=self.num_workers,
            worker_init_fn=use_one_thread,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader[dict[str, Any]] | list[Any]:
        if not self.val_clips:
            return []
        return DataLoader(StepStream(self.val_videos, 1, *self.ranks()), batch_size=None)
