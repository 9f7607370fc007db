"""What the solver is given, block by block: a measurement, read or made from a clean clip."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from lvis.errors import UserError
from lvis.operators import Inpainting, LinearOperator, StreamState
from lvis.solvers.blocks import block_frames
from lvis.solvers.by_block import BlockInverse
from lvis.untrusted import MOST_HELD

SIDE_MULTIPLES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Observation:
    """Consecutive frames, each tensor (1, 3, T, H, W): y, y brought to x's shape, and of a clean
    clip A^+ y and x.

    `observed` is the task's mask, bool (1, 1, T or 1, H, W); None for tasks without one.
    """

    measurement: Tensor
    visible: Tensor
    inverse: Tensor | None = None
    clean: Tensor | None = None
    observed: Tensor | None = None


class Observer:
    """Turns blocks of a source's frames into observations; keeps the operator's stream state.

    Args:
        operator: realised.
        generator: of the measurement noise.
        degrade: the frames are clean and are measured here; otherwise they are the measurement.
        invert: also give the pseudo-inverse.
    """

    def __init__(
        self,
        operator: LinearOperator,
        generator: torch.Generator,
        degrade: bool,
        invert: bool = False,
    ) -> None:
        self.operator, self.generator = operator, generator
        self.degrade = degrade
        self._pixels = operator.space == "pixel"
        self._state: StreamState | None = None
        self._invert = None
        if invert and self._pixels:
            self._invert = BlockInverse(operator) if operator.streamable else operator.pinv

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> Observation:
        """The next frames, x with `degrade` and y without."""
        if not self._pixels:
            # the mask acts on latents, inside the solver: what it is given is the video
            return Observation(frames, frames, clean=frames if self.degrade else None)
        here, offset = self._here(frames.shape[2])
        measurement = here.measure(frames, self.generator) + offset if self.degrade else frames
        visible = here.lift(measurement)
        if self.operator.streamable:
            self._state = self.operator.advance(self._state, frames if self.degrade else visible)
        mask = next((part for part in here.modules() if isinstance(part, Inpainting)), None)
        return Observation(
            measurement,
            visible,
            inverse=self._invert(measurement) if self._invert else None,
            clean=frames if self.degrade else None,
            observed=None if mask is None else mask.observed(measurement.shape),
        )

    def _here(self, count: int) -> tuple[LinearOperator, Tensor]:
        if self.operator.streamable:
            return self.operator.block(self._state, count)
        return self.operator, torch.zeros(())


class FrameQueue:
    """Frames (1, 3, T, H, W) waiting for the restored ones to come out of the stream."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []

    def push(self, frames: Tensor) -> None:
        self._parts.append(frames)

    def __len__(self) -> int:
        return sum(part.shape[2] for part in self._parts)

    def take(self, count: int) -> Tensor:
        waiting = torch.cat(self._parts, dim=2)
        self._parts = [waiting[:, :, count:]] if waiting.shape[2] > count else []
        return waiting[:, :, :count]


def blocks_of(source: Iterable[np.ndarray], block_size: int, whole: bool) -> Iterator[np.ndarray]:
    """The source's frames, uint8 (T, H, W, 3), in the solver's blocks; `whole`: all at once.

    Raises:
        UserError: with `whole`, more frames than fit `MOST_HELD`.
    """
    frames = iter(source)
    if whole:
        yield from _whole(frames)
        return
    count, later = block_frames(block_size)
    while block := list(islice(frames, count)):
        yield np.stack(block)
        count = later


def _whole(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    held: list[np.ndarray] = []
    for frame in frames:
        held.append(frame)
        if len(held) * frame.nbytes > MOST_HELD:
            raise UserError(
                f"the input has more than {len(held) - 1} frames of {frame.shape[1]}x{frame.shape[0]}, "
                "and this task holds the whole clip in memory; cut it into shorter ones"
            )
    if held:
        yield np.stack(held)


def measurable_size(operator: LinearOperator, size: tuple[int, int]) -> tuple[int, int]:
    """The smallest (H, W) >= `size` that the operator can measure (x4 wants multiples of 4).

    Raises:
        UserError: none of the multiples up to 16 will do.
    """
    if operator.space == "latent":
        return size
    for multiple in SIDE_MULTIPLES:
        height, width = (-(-side // multiple) * multiple for side in size)
        try:
            operator.measurement_shape((1, 3, 1, height, width))
        except UserError as error:
            reason = error
            continue
        return height, width
    raise reason
