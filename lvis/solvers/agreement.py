"""What a stream knows of its measurement: the data each block must agree with, and how closely.

One object per stream holds the operator's state, built from the frames already returned, and the
uncertainty of those frames. Solvers read it for first estimates and inner corrections; the stream
itself uses it for the last step.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lvis.operators import LinearOperator, StreamState
from lvis.solvers import tracking
from lvis.solvers.blocks import BlockBuffer, block_frames
from lvis.solvers.consistency import EIGHT_BITS, Consistency
from lvis.solvers.estimate import keeps_pixels, starting_point
from lvis.solvers.half_quadratic import (
    half_quadratic,
    ill_conditioned,
    is_downsampling,
    past_error,
)
from lvis.solvers.shrinkage import without_noise

# expected errors of a first estimate: where the past is tracked, and elsewhere
START_TAU_TRACKED = 0.1
START_TAU = 0.3
# of tau, where y is the pixels themselves: its noise would come back whole with every pixel
PIXEL_SHARE = 1 / 3


@dataclass(frozen=True)
class MeasuredBlock:
    """The measurement of one block, less what earlier frames contribute to it.

    Attributes:
        operator: of the stream.
        here: A on the frames of this block.
        measurement: y_n - offset.
        weight: of the measurement over a restored block, `gamma` or gains.
        start: of the measurement over a first estimate.
        noise: standard deviation of what is not the operator's in the measurement.
        past: `past_gain` of the operator, by which errors of earlier frames come back.
    """

    operator: LinearOperator
    here: LinearOperator
    measurement: Tensor
    weight: float | tracking.Gains
    start: float | tracking.Gains
    noise: float
    past: float = 0.0

    def corrected(self, video: Tensor) -> Tensor:
        """`video` (B, 3, T_n, H, W) moved towards the measurement, not clamped."""
        return self._moved(video, self.weight)

    def first_estimate(self) -> Tensor:
        """x_init in [-1, 1]: the best estimate without a network."""
        if is_downsampling(self.here):
            # well conditioned: what its inverse would spread over n x n pixels is taken off before
            clean = without_noise(self.measurement, self.noise)
            return starting_point(self.here, clean).clamp(-1, 1)
        start = starting_point(self.here, self.measurement)
        if keeps_pixels(self.here):
            # the measurement's own noise stands in its pixels; nothing else is known of them
            return without_noise(start, self.noise).clamp(-1, 1)
        if ill_conditioned(self.operator):
            noise = math.hypot(max(self.noise, EIGHT_BITS), self.past * past_error(self.noise))
            start = half_quadratic(
                self.here, self.measurement, start, noise, self.operator.has_past
            )
            return start.clamp(-1, 1)
        return self._moved(start, self.start).clamp(-1, 1)

    def explained_by(self, estimate: Tensor) -> "MeasuredBlock":
        """The same block with A x_init as its measurement: what a change of x_init must not touch,
        without the noise that x_init has left out."""
        return replace(self, measurement=self.here(estimate))

    def _moved(self, video: Tensor, weight: float | tracking.Gains) -> Tensor:
        measurement = self.measurement.to(video)
        if not isinstance(weight, tracking.Gains):
            return self.here.prox(video, measurement, weight)
        residual = measurement - self.here(video)
        return video + tracking.correct(self.operator, self.here, weight, residual)


class Agreement:
    """The agreement of one stream (see the module). Not for operators on latents.

    Args:
        operator: realised.
        consistency: tau and the floor.
    """

    def __init__(self, operator: LinearOperator, consistency: Consistency) -> None:
        self.operator = operator
        self.consistency = consistency
        self.state: StreamState | None = None
        self.tracked = tracking.tracks(operator)
        self._covariance: Tensor | None = None
        self._gains: tracking.Gains | None = None

    def block(self, measurement: Tensor) -> MeasuredBlock:
        """The next block (B, 3, T_n, H_y, W_y) of the measurement.

        Raises:
            UserError: an operator that reads the future.
        """
        frames = measurement.shape[2]
        here, offset = self.operator.block(self.state, frames)
        # a number stays on the host
        rest = measurement - (offset.to(measurement) if offset.ndim else offset)
        if self.tracked:
            # what is given out is at least as sure as the first estimate
            self._gains = self._gained(frames, START_TAU_TRACKED)
            weight = self._gained(frames, self.consistency.tau)
            weights: tuple[Any, Any] = (weight, self._gains)
        else:
            weights = self._gammas(self.state, frames)
        past = self.operator.past_gain(self.state, frames)
        return MeasuredBlock(self.operator, here, rest, *weights, self._noise, past)

    @property
    def _noise(self) -> float:
        return self.consistency.noise(self.operator)

    def _gained(self, frames: int, tau: float) -> tracking.Gains:
        seen = self.state.frames if self.state else 0
        consistency = replace(self.consistency, tau=tau)
        return tracking.gains(self.operator, seen, frames, consistency, self._covariance)

    def _gammas(self, state: StreamState | None, frames: int) -> tuple[float, float]:
        last, start = self.consistency, replace(self.consistency, tau=START_TAU)
        if keeps_pixels(self.operator):
            last = replace(last, tau=PIXEL_SHARE * last.tau)
        gammas = [one.gamma(self.operator, state, frames) for one in (last, start)]
        return gammas[0], gammas[1]

    def advance(self, given_out: Tensor) -> None:
        """The block's frames (B, 3, T_n, H, W) as they were given out."""
        self.state = self.operator.advance(self.state, given_out)
        if self._gains is not None:
            self._covariance = self._gains.after

    def clip(self, measurement: Tensor) -> MeasuredBlock:
        """A whole clip as one block, for operators or solvers that do not stream."""
        gammas = self._gammas(None, measurement.shape[2])
        return MeasuredBlock(self.operator, self.operator, measurement, *gammas, self._noise)


def blocks_of(
    operator: LinearOperator, measurement: Tensor, consistency: Consistency, block_size: int
) -> list[tuple[MeasuredBlock, Tensor]]:
    """All blocks of a clip with their first estimates, as a stream sees them in training.

    The past of a block is taken to be its first estimate. An operator that reads the
    future is one block.
    """
    agreement = Agreement(operator, consistency)
    if not operator.streamable:
        block = agreement.clip(measurement)
        return [(block, block.first_estimate())]
    buffer = BlockBuffer(*block_frames(block_size))
    parts = buffer.push(measurement)
    found = []
    for part in [*parts, buffer.flush()] if len(buffer) else parts:
        block = agreement.block(part)
        estimate = block.first_estimate()
        agreement.advance(estimate)
        found.append((block, estimate))
    return found


def corrected_clip(blocks: list[MeasuredBlock], video: Tensor) -> Tensor:
    """A whole clip (B, 3, T, H, W) moved towards the measurements of its blocks."""
    lengths = [block.measurement.shape[2] for block in blocks]
    parts = video.split(lengths, dim=2)
    moved = [block.corrected(part) for block, part in zip(blocks, parts, strict=True)]
    return torch.cat(moved, dim=2)
