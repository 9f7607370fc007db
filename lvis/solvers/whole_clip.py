"""Streams of solvers that restore the whole clip at once: the answer comes at `finish`."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor

from lvis.errors import UserError
from lvis.operators import LinearOperator
from lvis.solvers.base import Solver, Stream


class WholeClipStream(Stream):
    """Gets y of the whole clip, any length.

    `passes` has the networks by what they are: image_prior, image_encoder, image_decoder,
    video_prior, video_encoder, video_decoder, and flow for optical flow.
    """

    def __init__(
        self, solver: Solver, operator: LinearOperator, size: tuple[int, int], batch: int
    ) -> None:
        if operator.space == "latent":
            raise UserError(
                f"solver={solver.name} cannot invert an operator of latent space; use solver=student"
            )
        if operator.official:
            raise UserError(
                f"solver={solver.name} needs A^T itself, not adjoint=official; set adjoint=exact"
            )
        super().__init__(solver, operator, size, batch, whole_clip=True)

    @abstractmethod
    def restore_clip(self, measurement: Tensor) -> Tensor:
        """x (B, 3, T, H, W) of the whole measurement."""

    def bring_to_x(self, measurement: Tensor) -> Tensor:
        return self.restore_clip(measurement)

    def restore_block(self, visible: Tensor) -> Tensor:
        return visible

    def count_passes(self, images: Mapping[str, int], frames: int) -> None:
        """Set `passes`, by how many images went through each network for clips of `frames`.

        Patches count each.
        """
        self.passes = {name: count / (self.batch * frames) for name, count in images.items()}

    @contextmanager
    def network(self, stage: str = "transformer") -> Iterator[None]:
        """Book the block's seconds under `stage` instead of "operator", which is running."""
        began = self._now()
        yield
        seconds = self._now() - began
        self.timings[stage] += seconds
        self.timings["operator"] -= seconds
