"""Streams that restore each block as soon as its measurement is there."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from lvis.operators import LinearOperator
from lvis.solvers.base import S, Stream
from lvis.solvers.blocks import BlockBuffer, repeat_last


class BlockStream(Stream[S]):
    """Subclasses say how a measurement is brought to x's shape and how a full block of that is
    restored; cutting, padding in time, cropping, the last step and the clock are done here.
    """

    whole_clip = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._buffer = BlockBuffer(self._first_block, self._later_block)

    @abstractmethod
    def bring_to_x(self, measurement: Tensor) -> Tensor:
        """The next frames of the measurement, (B, 3, T_n, H_y, W_y) -> (B, 3, T_n, H, W)."""

    @abstractmethod
    def restore_block(self, visible: Tensor) -> Tensor:
        """One full block of what `bring_to_x` gave, (B, 3, T_n, H, W), restored; sides may grow."""

    def _add(self, measurement: Tensor) -> Iterator[Tensor]:
        return map(self._restore, self._buffer.push(measurement))

    def _end(self) -> Iterator[Tensor]:
        return map(self._restore, [self._buffer.flush()] if len(self._buffer) else [])

    def _restore(self, measurement: Tensor) -> Tensor:
        frames, (height, width) = measurement.shape[2], self.size
        with self.clock("operator"):
            if self.agreement is not None:
                self.measured = self.agreement.block(measurement)
            visible = self.bring_to_x(measurement)
        block_frames = self._later_block if self.frames else self._first_block
        restored = self.restore_block(repeat_last(visible, block_frames))
        restored = restored[:, :, :frames, :height, :width]
        if self._corrects and self.measured is not None:
            with self.clock("operator"):
                restored = self.measured.corrected(restored)
        restored = restored.clamp(-1, 1)
        if self.agreement is not None:
            self.agreement.advance(restored)
        return restored


class BlockInverse:
    """The pseudo-inverse of a streamable operator block by block: each block's past is what was
    inverted before.

    y_n = A_n x_n + (what A reads of x_{n-1}, x_{n-2}, ...); with the past known this is a system in
    x_n alone.
    """

    def __init__(self, operator: LinearOperator) -> None:
        self._operator = operator
        self._state: Any = None

    def __call__(self, measurement: Tensor) -> Tensor:
        here, offset = self._operator.block(self._state, measurement.shape[2])
        restored = here.pinv(measurement - offset)
        self._state = self._operator.advance(self._state, restored)
        return restored
