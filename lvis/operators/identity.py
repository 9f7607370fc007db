"""The identity: a measurement that has only its noise to remove."""

import torch
from torch import Tensor

from lvis.operators.base import LinearOperator, per_sample


class Identity(LinearOperator):
    """y = x + noise_std * n; denoising.

    Args:
        noise_std, adjoint, space: see `LinearOperator`; "official" is the same as "exact" here.
    """

    streamable = True

    def __init__(
        self, noise_std: float = 0.0, adjoint: str = "exact", space: str = "pixel"
    ) -> None:
        super().__init__(noise_std, adjoint, space)

    def forward(self, x: Tensor) -> Tensor:
        return x

    def adjoint(self, y: Tensor, x_shape: torch.Size | tuple[int, ...] | None = None) -> Tensor:
        return y

    def pinv(self, y: Tensor) -> Tensor:
        return y

    def prox(self, x: Tensor, y: Tensor, gamma: float | Tensor) -> Tensor:
        weight = per_sample(gamma, x)
        return (x + weight * y) / (1 + weight)

    def measurement_shape(self, x_shape: torch.Size | tuple[int, ...]) -> torch.Size:
        return torch.Size(x_shape)

    def norm(self, x_shape: torch.Size | tuple[int, ...]) -> float:
        return 1.0


class Unknown(Identity):
    """A measurement of x's size of which nobody knows how it was made: blur, noise, compression.

    The identity, except that nothing is known to agree with: the proximal map keeps the estimate.
    """

    known = False

    def prox(self, x: Tensor, y: Tensor, gamma: float | Tensor) -> Tensor:
        return x
