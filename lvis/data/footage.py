"""Clips from a folder of videos and photographs, each a pure function of (split, seed, step, index)."""

import logging
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from lvis.data.camera import draw_move, film
from lvis.data.footage_files import LONG, MediaFile, find_footage, held_out_names, read_window
from lvis.data.frames import read_image
from lvis.data.resumable import require_least
from lvis.errors import UserError

log = logging.getLogger(__name__)

SPLITS = ("train", "val")
SHORT = ("mirror", "skip")
ENDLESS = 2**40
SMALLEST_SIDE = 16


class Footage(Dataset[dict[str, Any]]):
    """Endless clips from the videos and photographs of a folder.

    A draw picks videos or photographs (`photographs`), then a source with a weight that is the square root
    of its number of files, then a file of it, a place, a time and a flip. A share `native` of the clips are
    crops at the file's own sharpness, the others are shrunk by up to `max_shrink` with an area average. Photographs
    are filmed by a moving camera (`lvis.data.camera`). The clip of a (seed, number) is always the same
    one for the same files, whatever was drawn before.

    Decoded files stay in memory, uint8, while they fit `cache_mb`; of the others only the frames
    that are needed are decoded. Cuts are not looked for: `lvis.prepare` avoids them.

    Args:
        folder: Searched at any depth (`find_footage`).
        size: Height and width of a clip in pixels, 16 or more each. Smaller files are skipped.
        frames: Frames per clip, T.
        seed: Of every draw.
        split: `train`, or `val`: the files that are held out, in turn, videos only where there are any.
        photographs: Share of the clips that are camera moves over photographs, 0 to 1.
        native: Share of the clips that are not shrunk, 0 to 1.
        max_shrink: The most that the others are shrunk by, 1 or more.
        flip: Share of the clips that are mirrored left to right.
        short: Of a video with fewer frames than a clip: `mirror` plays it back and forth (half the
            frames are the least), `skip` passes it over.
        held_out: Share of the files that validate; 0 trains on all.
        hold_out: By `hash` of the file's content, or by `source`.
        exclude: Names of files and folders that are skipped; * and ? are wildcards.
        cache_mb: Megabytes of decoded files that this process keeps.
        files: What `find_footage` returned for the folder, to look only once.

    Raises:
        UserError: an argument is out of range, no folder, nothing readable, or every file is too small or too short.
    """

    def __init__(
        self,
        folder: str | None,
        size: Sequence[int] = (128, 128),
        frames: int = 17,
        seed: int = 0,
        *,
        split: str = "train",
        photographs: float = 0.4,
        native: float = 0.5,
        max_shrink: float = 4.0,
        flip: float = 0.5,
        short: str = "mirror",
        held_out: float = 0.05,
        hold_out: str = "hash",
        exclude: Sequence[str] = ("eval*",),
        cache_mb: float = 2048,
        files: Sequence[MediaFile] | None = None,
    ) -> None:
        if len(size) != 2 or min(size) < SMALLEST_SIDE:
            raise UserError(
                f"data.size is {list(size)}: give height and width, {SMALLEST_SIDE} pixels or more each."
            )
        if split not in SPLITS:
            raise UserError(f"split is {split!r}: use one of {', '.join(SPLITS)}.")
        if short not in SHORT:
            raise UserError(f"data.short is {short!r}: use one of {', '.join(SHORT)}.")
        require_least(frames=(frames, 1), seed=(seed, 0))
        require_least(max_shrink=(max_shrink, 1), cache_mb=(cache_mb, 0))
        for name, share in (
            ("photographs", photographs),
            ("native", native),
            ("flip", flip),
            ("held_out", held_out),
        ):
            if not 0 <= share <= 1:
                raise UserError(f"data.{name} is {share}: give a share from 0 to 1.")
        self.folder, self.seed, self.split = folder, seed, split
        self.size, self.frames = (int(size[0]), int(size[1])), frames
        self.native, self.max_shrink, self.flip, self.short = native, max_shrink, flip, short
        self.length = ENDLESS
        self.files = list(files) if files is not None else find_footage(folder, exclude)
        self._budget = int(cache_mb * 1e6)
        self._kept: dict[str, np.ndarray] = {}
        self._mine = self._of_split(held_out, hold_out)
        self._draws = self._tables(photographs)

    def pixels(self, number: int) -> tuple[MediaFile, np.ndarray]:
        """The file of clip `number` and the clip from it, uint8 (T, H, W, 3).

        Raises:
            UserError: a file cannot be decoded.
        """
        # the last key is of an earlier version: it keeps the draws what they were
        key = (SPLITS.index(self.split), number, 0)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
        file = self._draw(rng, number)
        most = min(file.height / self.size[0], file.width / self.size[1], self.max_shrink)
        shrink = 1.0 if rng.random() < self.native else float(np.exp(rng.uniform(0, np.log(most))))
        flipped = rng.random() < self.flip
        if file.is_photograph:
            motion = draw_move(rng, self.frames, self.size)
            video = film(rng, self._photograph(file), motion, self.size, shrink)
        else:
            video = self._cut(rng, file, shrink)
        return file, np.ascontiguousarray(video[:, :, ::-1]) if flipped else video

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.length:
            raise IndexError(index)
        file, video = self.pixels(index)
        pixels = torch.from_numpy(video).permute(3, 0, 1, 2).float().div_(127.5).sub_(1)
        return {"video": pixels, "prompt": file.caption, "index": index}

    def _of_split(self, share: float, by: str) -> list[MediaFile]:
        names = held_out_names(self.files, share, by) if share else set()
        if self.split == "train":
            return [file for file in self.files if file.name not in names]
        kept = [file for file in self.files if file.name in names] if share else self.files
        moving = [file for file in kept if not file.is_photograph and self._fits(file)]
        return sorted(moving or kept, key=lambda file: file.digest)

    def _fits(self, file: MediaFile) -> bool:
        least = (self.frames + 1) // 2 if self.short == "mirror" else self.frames
        long_enough = file.is_photograph or file.frames >= least
        return long_enough and file.height >= self.size[0] and file.width >= self.size[1]

    def _tables(self, photographs: float) -> list[tuple[float, list[list[MediaFile]], np.ndarray]]:
        """Of each kind: its share, its files by source, the sources' probabilities."""
        tables = []
        for share, is_photograph in ((1 - photographs, False), (photographs, True)):
            sources: dict[str, list[MediaFile]] = {}
            for file in self._mine:
                if file.is_photograph == is_photograph and self._fits(file):
                    sources.setdefault(file.source, []).append(file)
            if share and sources:
                groups = [sources[name] for name in sorted(sources)]
                weights = np.sqrt([len(group) for group in groups])
                tables.append((share, groups, weights / weights.sum()))
        if not tables:
            raise UserError(self._nothing_fits())
        return tables

    def _nothing_fits(self) -> str:
        height, width = self.size
        tall = max(min(file.height / height, file.width / width) for file in self._mine)
        longest = max(file.frames for file in self._mine)
        return (
            f"data.folder={self.folder} has no file for {self.split} clips of {self.frames} frames of {width}x{height} "
            f"at these shares of videos and photographs: the largest is {tall:.2f} times that size, the longest video "
            f"has {longest} frames; lower data.size or data.frames, use data.short=mirror, or add files"
        )

    def _draw(self, rng: np.random.Generator, number: int) -> MediaFile:
        if self.split == "val":
            fitting = [file for file in self._mine if self._fits(file)]
            return fitting[number % len(fitting)]
        shares = np.array([share for share, _, _ in self._draws])
        _, groups, weights = self._draws[rng.choice(len(shares), p=shares / shares.sum())]
        group = groups[rng.choice(len(groups), p=weights)]
        return group[rng.integers(len(group))]

    def _photograph(self, file: MediaFile) -> np.ndarray:
        kept = self._kept.get(file.name)
        return self._keep(file, read_image(file.path)) if kept is None else kept

    def _cut(self, rng: np.random.Generator, file: MediaFile, shrink: float) -> np.ndarray:
        """A crop of a video, uint8 (T, h, w, 3)."""
        frames, size = self.frames, self.size
        height = min(round(size[0] * shrink), file.height)
        width = min(round(size[1] * shrink), file.width)
        top = int(rng.integers(file.height - height + 1))
        left = int(rng.integers(file.width - width + 1))
        start = int(rng.integers(max(file.frames - frames, 0) + 1))
        seen = self._frames(file, start, min(frames, file.frames))
        crops = [frame[top : top + height, left : left + width] for frame in seen]
        if (height, width) != size:
            target = (size[1], size[0])
            crops = [cv2.resize(crop, target, interpolation=cv2.INTER_AREA) for crop in crops]
        return np.stack([crops[number] for number in back_and_forth(frames, len(crops))])

    def _frames(self, file: MediaFile, start: int, frames: int) -> Sequence[np.ndarray]:
        kept = self._kept.get(file.name)
        if kept is None and file.frames <= LONG and file.bytes <= self._budget:
            kept = self._keep(file, np.stack(list(read_window(file.path, 0))))
        if kept is None:
            return list(read_window(file.path, start, frames))
        if start >= len(kept):
            raise UserError(f"{file.path} ends before its header says; remove it")
        return list(kept[start : start + frames])

    def _keep(self, file: MediaFile, decoded: np.ndarray) -> np.ndarray:
        if decoded.nbytes <= self._budget:
            self._budget -= decoded.nbytes
            self._kept[file.name] = decoded
        return decoded


def back_and_forth(frames: int, there_are: int) -> np.ndarray:
    """Positions 0, 1, ..., n - 1, n - 2, ..., 0, 1, ... (frames,) in a video of n frames."""
    period = max(2 * (there_are - 1), 1)
    phase = np.arange(frames) % period
    return np.minimum(phase, period - phase) if there_are > 1 else np.zeros(frames, int)
