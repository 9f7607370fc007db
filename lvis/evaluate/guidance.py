"""Where two restorations of one measurement differ: in what was measured, or in what A leaves free."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lvis.operators import LinearOperator


@dataclass(frozen=True)
class Split:
    """Root mean squares of a difference d of videos in [-1, 1].

    Attributes:
        total: of d.
        measured: of A d, over the measurement's values.
        seen: of A^+ A d, the part of d that A passes on.
        free: of d - A^+ A d, the part in A's null space, with what `rcond` counts to it.
    """

    total: float
    measured: float
    seen: float
    free: float

    @property
    def free_share(self) -> float:
        """The null space's share of |d|^2; 0 where nothing differs."""
        return self.free**2 / (self.free**2 + self.seen**2) if self.total else 0.0


@torch.no_grad()
def split_difference(operator: LinearOperator, first: Tensor, second: Tensor) -> Split:
    """Split first - second, (B, 3, T, H, W) each, by a realised operator on pixels."""
    difference = (first - second).double()
    image = operator(difference)
    seen = operator.pinv(image)
    parts = (difference, image, seen, difference - seen)
    return Split(*(part.square().mean().sqrt().item() for part in parts))
