"""The pseudo-inverse A^+ y, block by block: the baseline that every table starts from."""

import torch
from torch import Tensor

from lvis.errors import UserError
from lvis.operators import LinearOperator
from lvis.solvers.base import BlockInverse, Solver, Stream


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

    def open(
        self,
        operator: LinearOperator,
        size: tuple[int, int],
        prompt: str = "",
        seed: int = 0,
        batch: int = 1,
    ) -> Stream:
        """See `Solver.open`.

        Raises:
            UserError: a measurement in latent space, which has no pixels to invert.
        """
        if operator.space == "latent":
            raise UserError(
                "solver=pinv cannot invert an operator of latent space; use solver=student"
            )
        return PinvStream(self, operator, size, batch)


class PinvStream(Stream):
    def __init__(
        self, solver: Solver, operator: LinearOperator, size: tuple[int, int], batch: int
    ) -> None:
        super().__init__(solver, operator, size, batch, whole_clip=not operator.streamable)
        self._inverse = self.operator.pinv if self.whole_clip else BlockInverse(self.operator)

    def bring_to_x(self, measurement: Tensor) -> Tensor:
        return self._inverse(measurement)

    def restore_block(self, visible: Tensor) -> Tensor:
        return visible
