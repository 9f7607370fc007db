"""The last step of every solver: it makes the output agree with the measurement.

x = argmin gamma/2 |y - A x|^2 + 1/2 |x - x_hat|^2 with gamma = tau^2 / (noise variance of y): the
posterior mean of x for an estimate with white errors of standard deviation tau. Ours; the papers'
presets leave it out (`consistency: none`).
"""

import math
from dataclasses import dataclass

from lvis.errors import UserError
from lvis.operators import Composition, LinearOperator, Separable, StreamState
from lvis.operators.axes import largest_value

CHOICES = ("prox", "none")

# the standard deviation of rounding to 8 bits, (2 / 255) / sqrt(12), in units of x
EIGHT_BITS = 0.0023
# of a measurement that a lossy codec stored: the best of seven for blur, means and masks on held-out
# clips after H.264 at quality 18, 23 and 28 (docs/deviations/consistency.md)
LOSSY = 0.05

NORM_LENGTH = 96


@dataclass(frozen=True)
class Consistency:
    """How much the measurement is trusted over a solver's estimate.

    Args:
        tau: expected error of the estimate, a standard deviation in units of x ([-1, 1]).
        floor: least error of a measurement: rounding to 8 bits, or more for a lossy file (`LOSSY`).

    Raises:
        UserError: a tau or floor that is not positive.
    """

    tau: float = 0.1
    floor: float = EIGHT_BITS

    def __post_init__(self) -> None:
        for key, value in (("tau", self.tau), ("floor", self.floor)):
            if not value > 0:
                raise UserError(f"{key}={value} is not positive; use a number such as 0.1")

    def noise(self, operator: LinearOperator) -> float:
        """The standard deviation of a measurement's noise; rounding to 8 bits is none."""
        floor = self.floor if self.floor > EIGHT_BITS else 0.0
        return math.hypot(operator.noise_std, floor)

    def gamma(
        self, operator: LinearOperator, state: StreamState | None = None, frames: int = 1
    ) -> float:
        """gamma = (tau / |A|)^2 / (sigma^2 + floor^2 + |past part of A|^2 tau^2).

        Args:
            operator: of the stream; its `noise_std` is sigma.
            state: of the operator before the block; its frames have errors of their own, which
                come back through the past part of A as noise.
            frames: of the block.
        """
        tau = self.tau / spatial_norm(operator)
        past = operator.past_gain(state, frames)
        noise = operator.noise_std**2 + self.floor**2 + (past * self.tau) ** 2
        return tau**2 / noise


def spatial_norm(operator: LinearOperator) -> float:
    """The largest singular value of a separable operator's spatial part; 1 for others.

    Errors of an estimate are not white: an average of n x n pixels keeps most of them, where white
    ones would shrink by n. tau over this norm expects the same error of y / |A| as of x.
    """
    if isinstance(operator, Composition):
        return spatial_norm(operator.outer) * spatial_norm(operator.inner)
    if not isinstance(operator, Separable):
        return 1.0
    norm = 1.0
    for axis in operator.axes[1:]:
        # the same at any length that the factor divides
        norm *= largest_value(axis, NORM_LENGTH) if axis else 1.0
    return norm


def consistency_of(choice: str, tau: float = 0.1, floor: float = EIGHT_BITS) -> Consistency | None:
    """From the keys `consistency`, `tau` and `floor`; None for "none".

    Raises:
        UserError: another choice, or numbers out of range.
    """
    if choice not in CHOICES:
        raise UserError(f"consistency={choice} is not known; use one of {', '.join(CHOICES)}")
    return Consistency(tau, floor) if choice == "prox" else None
