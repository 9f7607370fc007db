"""An lvis operator behind deepinv's interface; imports deepinv, so import it through `lvis.operators.to_deepinv`."""

from typing import Any

from deepinv.physics import GaussianNoise, LinearPhysics, ZeroNoise
from torch import Tensor

from lvis.operators.base import LinearOperator


class OperatorPhysics(LinearPhysics):  # type: ignore[misc]
    """See `lvis.operators.to_deepinv`."""

    def __init__(self, operator: LinearOperator) -> None:
        noise = GaussianNoise(operator.noise_std) if operator.noise_std else ZeroNoise()
        super().__init__(noise_model=noise)
        self.operator = operator

    def A(self, x: Tensor, **_: Any) -> Tensor:
        return _as(x, self.operator(_video(x)))

    def A_adjoint(self, y: Tensor, **_: Any) -> Tensor:
        return _as(y, self.operator.adjoint(_video(y)))

    def A_dagger(self, y: Tensor, **_: Any) -> Tensor:
        return _as(y, self.operator.pinv(_video(y)))

    def prox_l2(
        self, z: Tensor | float | None, y: Tensor, gamma: float | Tensor, **_: Any
    ) -> Tensor:
        if not isinstance(z, Tensor):
            z = self.A_adjoint(y).new_full(self.A_adjoint(y).shape, z or 0.0)
        if isinstance(gamma, Tensor):
            gamma = gamma.reshape(-1).expand(y.shape[0])
        return _as(y, self.operator.prox(_video(z), _video(y), gamma))


def _video(images: Tensor) -> Tensor:
    return images[:, :, None] if images.ndim == 4 else images


def _as(given: Tensor, video: Tensor) -> Tensor:
    return video[:, :, 0] if given.ndim == 4 else video
