"""Cutting a stream of frames into the blocks of the prior's clock: 9, 12, 12, ... video frames."""

import torch
from torch import Tensor


class BlockBuffer:
    """Collects frames (B, C, T, H, W) and gives back blocks of `first`, then `later` frames.

    It holds less than one block between pushes.
    """

    def __init__(self, first: int, later: int) -> None:
        self._needed = first
        self._later = later
        self._parts: list[Tensor] = []
        self._held = 0

    def push(self, frames: Tensor) -> list[Tensor]:
        """Add any number of frames; returns the blocks that are now complete, in order."""
        blocks = []
        while frames.shape[2]:
            taken = frames[:, :, : self._needed - self._held]
            frames = frames[:, :, taken.shape[2] :]
            self._parts.append(taken)
            self._held += taken.shape[2]
            if self._held == self._needed:
                blocks.append(self.flush())
                self._needed = self._later
        return blocks

    def flush(self) -> Tensor:
        """Everything held, at least one frame, (B, C, T, H, W); the buffer is then empty."""
        held = torch.cat(self._parts, dim=2)
        self._parts, self._held = [], 0
        return held

    def __len__(self) -> int:
        return self._held


def block_frames(block_size: int) -> tuple[int, int]:
    """Video frames of the first and of every later block: T = 1 + 4 (t - 1), then 4 t."""
    return 1 + 4 * (block_size - 1), 4 * block_size


def repeat_last(frames: Tensor, count: int) -> Tensor:
    """Frames (B, C, T, H, W) continued to `count` frames by repeating the last one."""
    missing = count - frames.shape[2]
    return torch.cat((frames, frames[:, :, -1:].expand(-1, -1, missing, -1, -1)), dim=2)
