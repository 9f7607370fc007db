"""The interface of every solver: a stream of measurement frames in, restored blocks out."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from lvis.errors import UserError
from lvis.operators import LinearOperator
from lvis.solvers.agreement import Agreement, MeasuredBlock
from lvis.solvers.blocks import BlockBuffer, block_frames, repeat_last
from lvis.solvers.consistency import Consistency

STAGES = ("operator", "encode", "transformer", "decode")


class Solver(ABC):
    """A method that restores x from y = A(x) + n; it holds networks and settings, never a stream's
    state.

    Attributes:
        name: as in conf/solver/, for captions and tables.
        block_size: latent frames a block; 3 means 9 video frames first and 12 from then on.
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
    def open(
        self,
        operator: LinearOperator,
        size: tuple[int, int],
        prompt: str = "",
        seed: int = 0,
        batch: int = 1,
    ) -> "Stream":
        """A stream for `batch` measurements of `operator`.

        Args:
            operator: an `lvis.operators.LinearOperator`, realised (no draw left open).
            size: (H, W) of x, not of y; any size.
            prompt: what the video shows; "" is the null prompt.
            seed: of whatever the solver draws.

        Raises:
            UserError: the operator or the size is not one this solver can do.
        """


class Stream(ABC):
    """Restores while the measurement comes in; a context manager, good for one clip.

    Subclasses say how a measurement is brought to x's shape and how a full block of that is
    restored; cutting, padding in time and space, cropping, clipping and the clock are done here.
    The answer does not depend on how the frames were grouped into pushes.

    Attributes:
        whole_clip: the answer comes at `finish`, because the operator needs all of the clip.
        timings: seconds spent a stage so far: operator, encode, transformer, decode.
        time_to_first_frame: seconds from the first push to the first restored block; None before.
        frames: restored frames so far.
        agreement: what the stream knows of its measurement; None where nobody asks for it, on
            latents, and for the papers' substitutes of the adjoint.
        measured: the block that is being restored, of `agreement`.
        passes: forward passes of each network a frame, once the clip is done; only solvers that
            restore the whole clip at once count them (lvis.benchmark counts those of the others).
    """

    def __init__(
        self,
        solver: Solver,
        operator: LinearOperator,
        size: tuple[int, int],
        batch: int = 1,
        whole_clip: bool = False,
    ) -> None:
        if min(size) < 1:
            raise UserError(
                f"size={list(size)} is empty; give the height and width of the restored video"
            )
        self.device = solver.device
        self.operator = operator.to(self.device)
        self.size = size
        self.batch = batch
        self.whole_clip = whole_clip
        self.padded_size = tuple(-(-side // solver.stride) * solver.stride for side in size)
        self.timings = dict.fromkeys(STAGES, 0.0)
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
        self._buffer = BlockBuffer(self._first_block, self._later_block)
        self._clip: list[Tensor] = []
        self._started: float | None = None
        self._finished = False

    @abstractmethod
    def bring_to_x(self, measurement: Tensor) -> Tensor:
        """The next frames of the measurement, (B, 3, T_n, H_y, W_y) -> (B, 3, T_n, H, W)."""

    @abstractmethod
    def restore_block(self, visible: Tensor) -> Tensor:
        """One full block of what `bring_to_x` gave, (B, 3, T_n, H, W), restored; sides may grow."""

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
        measurement = measurement.to(self.device)
        if self.whole_clip:
            self._clip.append(measurement)
            return []
        return [self._restore(block) for block in self._buffer.push(measurement)]

    @torch.inference_mode()
    def finish(self) -> list[Tensor]:
        """The rest: the last block, continued by its last frame for the networks and cut back."""
        assert not self._finished, "finish twice"
        self._finished = True
        if self._clip:
            measurement = torch.cat(self._clip, dim=2)
            self._clip = []
            with self.clock("operator"):
                if self.agreement is not None:
                    self.measured = self.agreement.clip(measurement)
                visible = self.bring_to_x(measurement)
            blocks = self._buffer.push(visible)
            if len(self._buffer):
                blocks.append(self._buffer.flush())
            return self._agreed([self._restore_visible(block) for block in blocks])
        return [self._restore(self._buffer.flush())] if len(self._buffer) else []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._finished = True
        self._clip = []

    @contextmanager
    def clock(self, stage: str) -> Iterator[None]:
        """Add the seconds that the block takes to `timings[stage]`."""
        began = self._now()
        yield
        self.timings[stage] += self._now() - began

    def _restore(self, measurement: Tensor) -> Tensor:
        with self.clock("operator"):
            if self.agreement is not None:
                self.measured = self.agreement.block(measurement)
            visible = self.bring_to_x(measurement)
        return self._restore_visible(visible)

    def _agreed(self, blocks: list[Tensor]) -> list[Tensor]:
        """The restored blocks of a whole clip, moved towards its measurement."""
        if not self._corrects or self.measured is None:
            return blocks
        with self.clock("operator"):
            video = self.measured.corrected(torch.cat(blocks, dim=2)).clamp(-1, 1)
        return list(video.split([block.shape[2] for block in blocks], dim=2))

    def _restore_visible(self, visible: Tensor) -> Tensor:
        frames = visible.shape[2]
        height, width = self.size
        block_frames = self._later_block if self.frames else self._first_block
        restored = self.restore_block(repeat_last(visible, block_frames))
        restored = restored[:, :, :frames, :height, :width]
        if self._corrects and not self.whole_clip and self.measured is not None:
            with self.clock("operator"):
                restored = self.measured.corrected(restored)
        restored = restored.clamp(-1, 1)
        if self.agreement is not None and not self.whole_clip:
            self.agreement.advance(restored)
        if self.time_to_first_frame is None:
            assert self._started is not None
            self.time_to_first_frame = self._now() - self._started
        self.frames += frames
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
