"""The pseudo-inverse A^+ y, block by block: the baseline that every table starts from."""

from typing import Any

import torch
from torch import Tensor

from lvis.operators import LinearOperator
from lvis.solvers.base import Solver, Stream
from lvis.solvers.by_block import BlockInverse, BlockStream
from lvis.solvers.whole_clip import WholeClipStream


class PinvSolver(Solver):
    """Moore-Penrose pseudo-inverse; uses no network, prompt or seed.

    For a causal operator it is the exact inverse given the past, and equals the whole clip's
    pseudo-inverse where A is invertible in time. Operators without a stream form (centred and
    circular windows) are inverted at the end, with the whole clip in memory.
    """

    name = "pinv"
    exact = True

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)

    def stream_type(self, operator: LinearOperator) -> type[Stream[Any]]:
        """See `Solver.stream_type`."""
        self.require_pixels(operator)
        return PinvStream if operator.streamable else PinvClipStream


class PinvStream(BlockStream[PinvSolver]):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._inverse = BlockInverse(self.operator)

    def bring_to_x(self, measurement: Tensor) -> Tensor:
        return self._inverse(measurement)

    def restore_block(self, visible: Tensor) -> Tensor:
        return visible


class PinvClipStream(WholeClipStream[PinvSolver]):
    def restore_clip(self, measurement: Tensor) -> Tensor:
        return self.operator.pinv(measurement)
