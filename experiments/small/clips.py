"""Clips of one folder of footage in several shapes, each a function of (seed, number)."""

from pathlib import Path

import torch
from torch import Tensor

from lvis.data.footage import Footage
from lvis.data.footage_files import find_footage

PHOTOGRAPHS, NATIVE, MAX_SHRINK = 0.4, 0.5, 3.0
CACHE_MB = 2048


class Clips:
    """Batches from the files of `folder`; a twentieth of the files, by their content, are held out.

    Args:
        shapes: (clips per batch, frames, side) of the training batches.
        seed: of every draw.

    Raises:
        UserError: as `lvis.data.Footage`.
    """

    def __init__(self, folder: Path, shapes: list[tuple[int, int, int]], seed: int = 0) -> None:
        self._folder, self._seed = str(folder), seed
        self._files = find_footage(self._folder)
        share = CACHE_MB / len(set(shapes))
        self._sets = {shape: self._of(shape[1:], "train", share) for shape in set(shapes)}

    def batch(self, shape: tuple[int, int, int], number: int) -> Tensor:
        """(B, 3, T, side, side) in [-1, 1]."""
        count = shape[0]
        first = number * count
        clips = [self._sets[shape][at]["video"] for at in range(first, first + count)]
        return torch.stack(clips)

    def held_out(self, count: int, frames: int, side: int) -> list[Tensor]:
        """(1, 3, T, side, side) each, of files that no training batch is from."""
        clips = self._of((frames, side), "val", 0)
        return [clips[at]["video"][None] for at in range(count)]

    def _of(self, shape: tuple[int, ...], split: str, cache_mb: float) -> Footage:
        frames, side = shape
        return Footage(
            self._folder,
            (side, side),
            frames,
            self._seed,
            split=split,
            photographs=PHOTOGRAPHS,
            native=NATIVE,
            max_shrink=MAX_SHRINK,
            cache_mb=cache_mb,
            files=self._files,
        )
