"""Operators one after the other: spatio-temporal averages and the papers' "+" tasks."""

import torch
from torch import Tensor

from lvis.errors import UserError
from lvis.operators.base import LinearOperator, StreamState
from lvis.operators.draws import Draw
from lvis.operators.separable import Separable


def compose(
    outer: LinearOperator,
    inner: LinearOperator,
    noise_std: float = 0.0,
    rcond: float | None = None,
    cg_iterations: int | None = None,
    cg_tolerance: float = 1e-6,
) -> LinearOperator:
    """A x = outer(inner(x)).

    Two separable operators on different axes make a `Separable` one, with everything in closed
    form; anything else a `Composition`. A part with adjoint="official" makes the whole official.

    Args:
        outer, inner: operators without noise of their own.
        noise_std: the noise of the whole.
        rcond: of the pseudo-inverse when the result is separable; by default the larger of the
            parts'.
        cg_iterations, cg_tolerance: see `LinearOperator`.

    Raises:
        UserError: a part with noise.
    """
    for name, part in (("outer", outer), ("inner", inner)):
        if part.noise_std:
            raise UserError(
                f"the {name} operator has noise_std={part.noise_std}: set it to 0 and give the "
                f"composition the noise"
            )
    if isinstance(outer, Separable) and isinstance(inner, Separable):
        if all(a is None or b is None for a, b in zip(outer.axes, inner.axes, strict=True)):
            time, rows, columns = (a or b for a, b in zip(outer.axes, inner.axes, strict=True))
            return Separable(
                time,
                rows,
                columns,
                max(outer.rcond, inner.rcond) if rcond is None else rcond,
                noise_std,
                "official" if outer.official or inner.official else "exact",
                cg_iterations,
                cg_tolerance,
            )
    return Composition(outer, inner, noise_std, cg_iterations, cg_tolerance)


class Composition(LinearOperator):
    """A x = outer(inner(x)), with conjugate gradients for the pseudo-inverse and the proximal map.

    lift is inner.lift(outer.lift(y)). Use `compose`, which knows when there is a closed form.
    """

    def __init__(
        self,
        outer: LinearOperator,
        inner: LinearOperator,
        noise_std: float = 0.0,
        cg_iterations: int | None = None,
        cg_tolerance: float = 1e-6,
    ) -> None:
        official = outer.official or inner.official
        super().__init__(
            noise_std,
            "official" if official else "exact",
            outer.space,
            cg_iterations,
            cg_tolerance,
        )
        self.outer = outer
        self.inner = inner

    @property
    def streamable(self) -> bool:  # type: ignore[override]
        """Whether both parts are."""
        return self.outer.streamable and self.inner.streamable

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.inner(x))

    def adjoint(self, y: Tensor, x_shape: torch.Size | tuple[int, ...] | None = None) -> Tensor:
        middle = None if x_shape is None else self.inner.measurement_shape(x_shape)
        return self.inner.adjoint(self.outer.adjoint(y, middle), x_shape)

    def lift(self, y: Tensor) -> Tensor:
        return self.inner.lift(self.outer.lift(y))

    def realise(
        self,
        x_shape: torch.Size | tuple[int, ...],
        generator: Draw = None,
    ) -> "Composition":
        inner = self.inner.realise(x_shape, generator)
        outer = self.outer.realise(inner.measurement_shape(x_shape), generator)
        return self._of(outer, inner)

    def video_shape(self, y_shape: torch.Size | tuple[int, ...]) -> torch.Size:
        return self.inner.video_shape(self.outer.video_shape(y_shape))

    def measurement_shape(self, x_shape: torch.Size | tuple[int, ...]) -> torch.Size:
        return self.outer.measurement_shape(self.inner.measurement_shape(x_shape))

    def block(self, state: StreamState | None, num_frames: int) -> tuple[LinearOperator, Tensor]:
        outer_state, inner_state = state.parts if state else (None, None)
        inner, inner_offset = self.inner.block(inner_state, num_frames)
        outer, outer_offset = self.outer.block(outer_state, num_frames)
        # outer(inner x + a) + b = outer inner x + (outer a + b)
        carried = outer(inner_offset) if inner_offset.ndim else inner_offset
        return self._of(outer, inner), carried + outer_offset

    @property
    def has_past(self) -> bool:
        """Whether either part has."""
        return self.outer.has_past or self.inner.has_past

    def past_gain(self, state: StreamState | None, num_frames: int) -> float:
        """See `LinearOperator.past_gain`; the outer part counts as a norm of at most 1."""
        outer_state, inner_state = state.parts if state else (None, None)
        inner = self.inner.past_gain(inner_state, num_frames)
        return inner + self.outer.past_gain(outer_state, num_frames)

    def advance(self, state: StreamState | None, x_block: Tensor) -> StreamState:
        outer_state, inner_state = state.parts if state else (None, None)
        inner, inner_offset = self.inner.block(inner_state, x_block.shape[2])
        parts = (
            self.outer.advance(outer_state, inner(x_block) + inner_offset),
            self.inner.advance(inner_state, x_block),
        )
        return StreamState(parts[1].frames, parts=parts)

    def _of(self, outer: LinearOperator, inner: LinearOperator) -> "Composition":
        return Composition(outer, inner, self.noise_std, self.cg_iterations, self.cg_tolerance)

    def _noise(self, x: Tensor, y: Tensor, generator: Draw) -> Tensor:
        # a mask keeps the noise out of what it does not measure
        return self.outer._noise(self.inner(x), y, generator)

    def _unstreamable(self) -> str:
        part = self.inner if not self.inner.streamable else self.outer
        return part._unstreamable()
