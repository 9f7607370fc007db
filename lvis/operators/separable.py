"""Kronecker products A_t (x) A_h (x) A_w: three small matrices give everything in closed form."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lvis.errors import UserError
from lvis.operators.axes import (
    Axis,
    CausalMean,
    CentredMean,
    cached,
    largest_value,
    past_norm,
)
from lvis.operators.base import LinearOperator, StreamState, per_sample
from lvis.operators.spectrum import AXES, COLUMNS, ROWS, TIME, Spectrum, computed, multiply

# below this share of the largest singular value, a direction counts as lost (float32 keeps it
# apart from zero)
FLOAT32_RCOND = 1e-5

# the proximal map in float32 leaves out singular values that together change x by less than this
# share of |y - A x|: at least half of a blur's
NEGLIGIBLE = 1e-4


class Separable(LinearOperator):
    """A = A_t (x) A_h (x) A_w on (B, C, T, H, W), the same for every channel.

    Computed in float32 at least (bf16 and fp16 are cast up and back) and outside autocast, so that
    |y - A x|^2 means something in mixed precision.

    With A = U S V^T axis by axis, S the outer product of three vectors,
        pinv(y) = V S^+ U^T y,      prox(x, y, gamma) = x + V [gamma S / (1 + gamma S^2)] U^T (y -
        A x).

    Args:
        time, rows, columns: what happens along each axis; None for nothing.
        rcond: the pseudo-inverse drops singular values of A (products over the axes) at or below
            rcond times the largest.
        noise_std, adjoint, cg_iterations, cg_tolerance: see `LinearOperator`.
    """

    def __init__(
        self,
        time: Axis | None = None,
        rows: Axis | None = None,
        columns: Axis | None = None,
        rcond: float = FLOAT32_RCOND,
        noise_std: float = 0.0,
        adjoint: str = "exact",
        cg_iterations: int | None = None,
        cg_tolerance: float = 1e-6,
    ) -> None:
        super().__init__(noise_std, adjoint, "pixel", cg_iterations, cg_tolerance)
        if not 0 <= rcond < 1:
            raise UserError(f"rcond is {rcond}: give a number in [0, 1)")
        self.axes = (time, rows, columns)
        self.rcond = rcond

    @property
    def streamable(self) -> bool:  # type: ignore[override]
        """Whether the time axis reads no future frame."""
        return self.axes[0] is None or isinstance(self.axes[0], CausalMean)

    def forward(self, x: Tensor) -> Tensor:
        self.measurement_shape(x.shape)
        return self._along(x, "matrix", x.shape[2:])

    def adjoint(self, y: Tensor, x_shape: torch.Size | tuple[int, ...] | None = None) -> Tensor:
        lengths = (self.video_shape(y.shape) if x_shape is None else x_shape)[2:]
        kind = "substitute" if self.official else "matrix"
        return self._along(y, kind, lengths, transposed=not self.official)

    def pinv(self, y: Tensor) -> Tensor:
        if self.official:
            return super().pinv(y)
        smallest = self.rcond * self.norm(self.video_shape(y.shape))

        def apply(working: Tensor) -> Tensor:
            lengths = self.video_shape(working.shape)[2:]
            spectrum = Spectrum(self.axes, lengths, working.dtype, working.device)
            kept = spectrum.kept(smallest)
            values = spectrum.values(kept)
            inverse = torch.where(values > smallest, values, torch.inf).reciprocal()
            return spectrum.video(spectrum.of_measurement(working, kept) * inverse)

        return computed(y, apply)

    def prox(self, x: Tensor, y: Tensor, gamma: float | Tensor) -> Tensor:
        return super().prox(x, y, gamma) if self.official else self.proximal(y)(x, gamma)

    def proximal(self, y: Tensor) -> Callable[[Tensor, float | Tensor], Tensor]:
        if self.official:
            return super().proximal(y)
        held: list[Tensor] = []

        def apply(x: Tensor, gamma: float | Tensor) -> Tensor:
            self.measurement_shape(x.shape)
            spectrum = Spectrum(self.axes, x.shape[2:], x.dtype, x.device)
            smallest = 0.0
            if not isinstance(gamma, Tensor) and x.dtype != torch.float64:
                smallest = NEGLIGIBLE / max(gamma, 1e-30)
            kept = spectrum.kept(smallest)
            seen = spectrum.of_video(x, kept)
            if not held or any(h < s for h, s in zip(held[0].shape, seen.shape, strict=True)):
                held[:] = [spectrum.of_measurement(y.to(x.dtype), kept)]
            measured = held[0][:, :, : seen.shape[2], : seen.shape[3], : seen.shape[4]]
            values, weight = spectrum.values(kept), per_sample(gamma, x)
            # U^T (y - A x) = U^T y - S V^T x
            change = torch.addcmul(measured, values, seen, value=-1)
            change.mul_(weight * values / (1 + weight * values**2))
            return spectrum.video(change).add_(x)

        return lambda x, gamma: computed(x, lambda working: apply(working, gamma))

    def lift(self, y: Tensor) -> Tensor:
        return self._along(y, "lift_matrix", y.shape[2:])

    def video_shape(self, y_shape: torch.Size | tuple[int, ...]) -> torch.Size:
        sides = [
            axis.input_length(count) if axis else count
            for axis, count in zip(self.axes, y_shape[2:], strict=True)
        ]
        return torch.Size((*y_shape[:2], *sides))

    def measurement_shape(self, x_shape: torch.Size | tuple[int, ...]) -> torch.Size:
        """The shape of A(x).

        Raises:
            UserError: a side that the downsampling factor does not divide.
        """
        sides = [
            axis.output_length(length) if axis else length
            for axis, length in zip(self.axes, x_shape[2:], strict=True)
        ]
        return torch.Size((*x_shape[:2], *sides))

    def norm(self, x_shape: torch.Size | tuple[int, ...]) -> float:
        value = 1.0
        for axis, length in zip(self.axes, x_shape[2:], strict=True):
            value *= largest_value(axis, length) if axis else 1.0
        return value

    def block(self, state: StreamState | None, num_frames: int) -> tuple[LinearOperator, Tensor]:
        self.require_streamable()
        time = self.axes[0]
        if not isinstance(time, CausalMean) or state is None or state.past is None:
            return self, torch.zeros(())
        time = time.after(state.frames)
        operator = Separable(
            time,
            *self.axes[1:],
            rcond=self.rcond,
            noise_std=self.noise_std,
            adjoint=self.adjoint_kind,
            cg_iterations=self.cg_iterations,
            cg_tolerance=self.cg_tolerance,
        )
        past = self._along(state.past, "matrix", state.past.shape[2:], dims=(ROWS, COLUMNS))

        def weighed(value: Tensor) -> Tensor:
            matrix = cached(time, "past_matrix", num_frames, value.dtype, value.device)
            assert matrix is not None
            return multiply(value, matrix, TIME)

        return operator, computed(past, weighed)

    @property
    def has_past(self) -> bool:
        """Whether the time axis is a causal mean of more than one frame."""
        return isinstance(self.axes[0], CausalMean) and self.axes[0].window > 1

    def past_gain(self, state: StreamState | None, num_frames: int) -> float:
        """See `LinearOperator.past_gain`; the rows and columns count as a norm of at most 1."""
        time = self.axes[0]
        if not isinstance(time, CausalMean) or state is None or state.past is None:
            return 0.0
        return past_norm(time.after(state.frames), num_frames)

    def advance(self, state: StreamState | None, x_block: Tensor) -> StreamState:
        after = super().advance(state, x_block)
        time = self.axes[0]
        if not isinstance(time, CausalMean) or time.window == 1:
            return after
        known = (
            x_block if state is None or state.past is None else torch.cat([state.past, x_block], 2)
        )
        # a copy of the few frames, so that the state neither aliases nor keeps alive the whole
        # block
        return StreamState(after.frames, past=known[:, :, 1 - time.window :].clone())

    def _along(
        self,
        value: Tensor,
        kind: str,
        lengths: Sequence[int],
        transposed: bool = False,
        dims: tuple[int, ...] = AXES,
    ) -> Tensor:
        """Multiply by the matrices `kind` (transposed) along the axes in `dims`."""

        def apply(working: Tensor) -> Tensor:
            for axis, dim, length in zip(self.axes, AXES, lengths, strict=True):
                if axis is None or dim not in dims:
                    continue
                matrix = cached(axis, kind, length, working.dtype, working.device)
                if matrix is not None:
                    working = multiply(working, matrix.mT if transposed else matrix, dim)
            return working.contiguous()

        return computed(value, apply)

    def _unstreamable(self) -> str:
        assert isinstance(self.axes[0], CentredMean)
        return (
            f"the temporal average with border={self.axes[0].border} reads future frames and "
            f"cannot be streamed: "
            "use border=causal, or restore whole clips"
        )
