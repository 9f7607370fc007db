"""The interface of every solver: a stream of measurement frames in, restored blocks out."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Generic, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from lvis.errors import UserError
from lvis.operators import LinearOperator
from lvis.solvers.agreement import Agreement, MeasuredBlock
from lvis.solvers.blocks import block_frames
from lvis.solvers.clock import StageClock
from lvis.solvers.consistency import Consistency

STAGES = ("operator", "encode", "transformer", "decode")


class Solver(ABC):
    """A method that restores x from y = A(x) + n; it holds networks and settings, never a stream's
    state.

    Attributes:
        name: as in conf/solver/, for captions and tables.
        block_size: latent frames per block; 3 means 9 video frames first and 12 from then on.
        stride: x's sides are padded to multiples of this for the networks, and cropped back.
        device: where pushed frames are moved and where restored ones lie.
        consistency: the last step of every block, see `lvis.solvers.consistency`; None leaves the
            solver's output as it is, as the papers do.
        tau: of `Consistency`, the expected error of this solver's output.
        estimates: its streams need `agreement` for first estimates, with and without a last step.
        exact: the output fits the measurement by construction, so that there is no last step.
    """

    name: str
    block_size: int = 3
    stride: int = 1
    device: torch.device = torch.device("cpu")
    consistency: Consistency | None = None
    tau: float = 0.1
    estimates: bool = False
    exact: bool = False

    @abstractmethod
    def stream_type(self, operator: LinearOperator) -> "type[Stream[Any]]":
        """The kind of stream that restores measurements of `operator`.

        Raises:
            UserError: the solver cannot invert this operator.
        """

    def open(
        self,
        operator: LinearOperator,
        size: tuple[int, int],
        prompt: str = "",
        seed: int = 0,
        batch: int = 1,
    ) -> "Stream[Any]":
        """A stream for `batch` measurements of `operator`.

        Args:
            operator: an `lvis.operators.LinearOperator`, realised (no draw left open).
            size: (H, W) of x, not of y; any size.
            prompt: what the video shows; "" is the null prompt. Image priors do not read it.
            seed: of whatever the solver draws.

        Raises:
            UserError: the operator or the size is not one this solver can do.
        """
        return self.stream_type(operator)(self, operator, size, prompt, seed, batch)

    def require_pixels(self, operator: LinearOperator) -> None:
        """Raises UserError for an operator on latents."""
        if operator.space == "latent":
            raise UserError(
                f"solver={self.name} cannot invert an operator of latent space; set "
                "task.operator.space=pixel, or use solver=student"
            )

    def require_adjoint(self, operator: LinearOperator) -> None:
        """Raises UserError for the papers' substitutes of A^T."""
        if operator.official:
            raise UserError(
                f"solver={self.name} needs A^T itself, not adjoint=official; set adjoint=exact"
            )


S = TypeVar("S", bound=Solver)


class Stream(ABC, Generic[S]):
    """Restores while the measurement comes in; a context manager, good for one clip.

    There are two kinds: `lvis.solvers.by_block.BlockStream` and `lvis.solvers.whole_clip.WholeClipStream`.
    The answer does not depend on how the frames were grouped into pushes.

    Attributes:
        whole_clip: the answer comes at `finish`.
        time_to_first_frame: seconds from the first push to the first restored block; None before.
        frames: restored frames so far.
        generator: of the seed, on the CPU.
        agreement: what the stream knows of its measurement; None where nobody asks for it, on
            latents, and for the papers' substitutes of the adjoint.
        measured: what is being restored, of `agreement`.
        passes: forward passes of each network per frame, once the clip is done; only solvers that
            restore the whole clip at once count them (lvis.benchmark counts those of the others).
    """

    whole_clip: bool

    def __init__(
        self,
        solver: S,
        operator: LinearOperator,
        size: tuple[int, int],
        prompt: str = "",
        seed: int = 0,
        batch: int = 1,
    ) -> None:
        if min(size) < 1:
            raise UserError(
                f"size={list(size)} is empty; give the height and width of the restored video"
            )
        self.solver = solver
        self.device = solver.device
        self.operator = operator.to(self.device)
        self.size, self.prompt, self.batch = size, prompt, batch
        self.generator = torch.Generator().manual_seed(seed)
        height, width = (-(-side // solver.stride) * solver.stride for side in size)
        self.padded_size = (height, width)
        self._clock = StageClock(STAGES, self.device)
        self.time_to_first_frame: float | None = None
        self.frames = 0
        self.passes: dict[str, float] = {}
        self.agreement: Agreement | None = None
        self.measured: MeasuredBlock | None = None
        self._corrects = solver.consistency is not None and not solver.exact
        known = operator.space == "pixel" and not operator.official
        if known and (self._corrects or solver.estimates):
            consistency = solver.consistency or Consistency(tau=solver.tau)
            self.agreement = Agreement(self.operator, consistency)
        self._measured_size = measurement_size(operator, size)
        self._first_block, self._later_block = block_frames(solver.block_size)
        self._started: float | None = None
        self._finished = False

    @torch.inference_mode()
    def push(self, measurement: Tensor) -> list[Tensor]:
        """Add frames of the measurement, (B, 3, any T, H_y, W_y).

        Returns:
            The blocks that this completes, each (B, 3, T_n, H, W) in [-1, 1] on the solver's
            device.

        Raises:
            UserError: frames that are not of the size A gives for x's size.
        """
        assert not self._finished, "push after finish"
        self._check(measurement)
        if self._started is None:
            self._started = time.perf_counter()
        return [self._given_out(x) for x in self._add(measurement.to(self.device))]

    @torch.inference_mode()
    def finish(self) -> list[Tensor]:
        """The rest: the last block, continued by its last frame for the networks and cut back."""
        assert not self._finished, "finish twice"
        self._finished = True
        return [self._given_out(x) for x in self._end()]

    @abstractmethod
    def _add(self, measurement: Tensor) -> Iterator[Tensor]:
        """The blocks that these frames complete."""

    @abstractmethod
    def _end(self) -> Iterator[Tensor]:
        """The blocks that are left, of no frames or more."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._finished = True

    @property
    def timings(self) -> dict[str, float]:
        """Seconds spent in each stage so far: operator, encode, transformer, decode."""
        return self._clock.seconds()

    def clock(self, stage: str) -> AbstractContextManager[None]:
        """Add the seconds within to `timings[stage]`, less those of other clocks within."""
        return self._clock.stage(stage)

    def _given_out(self, restored: Tensor) -> Tensor:
        if self.time_to_first_frame is None:
            assert self._started is not None
            self.time_to_first_frame = self._now() - self._started
        self.frames += restored.shape[2]
        return restored

    def _check(self, measurement: Tensor) -> None:
        frames = measurement.shape[2] if measurement.ndim == 5 else 0
        wanted = (self.batch, 3, frames, *self._measured_size)
        if tuple(measurement.shape) != wanted or not frames:
            raise UserError(
                f"a measurement of shape {tuple(measurement.shape)} does not belong to a video of "
                f"{self.size[1]}x{self.size[0]}: (B, 3, T, H, W) must be {wanted}"
            )

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def measurement_size(operator: LinearOperator, size: tuple[int, int]) -> tuple[int, int]:
    """(H_y, W_y) of the measurement of a video of `size`; with an operator on latents, `size`."""
    if operator.space == "latent":
        return size
    shape = operator.measurement_shape((1, 3, 1, *size))
    return shape[-2], shape[-1]


def pad_to(video: Tensor, size: tuple[int, ...]) -> Tensor:
    """Continue (B, C, T, H, W) to `size` by mirroring at its right and bottom borders."""
    for axis, side in ((3, size[0]), (4, size[1])):
        while (missing := side - video.shape[axis]) > 0:
            mirrored = min(missing, video.shape[axis] - 1)
            mode = "reflect" if mirrored else "replicate"
            amount = mirrored or missing
            padding = (0, amount, 0, 0, 0, 0) if axis == 4 else (0, 0, 0, amount, 0, 0)
            video = F.pad(video, padding, mode=mode)
    return video
