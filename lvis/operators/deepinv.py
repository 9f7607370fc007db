"""deepinv's linear physics as lvis operators, and lvis operators as deepinv's physics.

deepinv (https://deepinv.github.io) is an extra: pip install 'lvis[deepinv]'.
Legend: B batch, C channels, T frames, H W sides.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lvis.errors import UserError
from lvis.operators.base import LinearOperator
from lvis.operators.mask import Inpainting

if TYPE_CHECKING:
    from deepinv.physics import LinearPhysics


def from_deepinv(physics: "LinearPhysics", per_frame: bool = True) -> LinearOperator:
    """An lvis operator that measures videos with deepinv's `physics`, for use in any lvis solver.

    The adjoint is deepinv's `A_adjoint`. Where deepinv has a singular value decomposition
    (`DecomposablePhysics`), its closed-form pseudo-inverse and proximal map are used; elsewhere
    lvis runs conjugate gradients. A binary mask shared by all channels becomes
    `lvis.operators.Inpainting`, whose missing pixels the solvers can fill. What `to_deepinv` made
    becomes its operator again.

    lvis videos lie in [-1, 1] and deepinv images often in [0, 1]. As A is linear, a measurement
    y01 of x01 = (x + 1) / 2 becomes y = 2 y01 - A(1), and a noise level given for [0, 1] doubles.
    `noise_std` is taken from the physics as it is.

    >>> import deepinv, torch
    >>> from lvis.operators import from_deepinv
    >>> blur = deepinv.physics.Blur(deepinv.physics.blur.gaussian_blur(2.0), padding="circular")
    >>> A = from_deepinv(blur)
    >>> tuple(A(torch.zeros(1, 3, 9, 32, 32)).shape)
    (1, 3, 9, 32, 32)

    Args:
        physics: a `deepinv.physics.LinearPhysics` on images (B, C, H, W).
        per_frame: apply it to every frame by itself; the operator can then be streamed. With
            False, the physics takes whole videos (B, C, T, H, W), and only whole clips can be
            restored.

    Raises:
        UserError: deepinv is not installed, the physics is not linear, or its noise is not Gaussian.
    """
    module = _deepinv().physics
    if not isinstance(physics, module.LinearPhysics):
        raise UserError(
            f"{type(physics).__name__} is not a deepinv.physics.LinearPhysics; lvis restores "
            "linear measurements only"
        )
    noise_std = _noise_std(physics)
    from lvis.operators.deepinv_physics import OperatorPhysics

    if isinstance(physics, OperatorPhysics) and noise_std == physics.operator.noise_std:
        return physics.operator
    if isinstance(physics, module.Inpainting) and (mask := _shared_mask(physics.mask)) is not None:
        if per_frame and mask.ndim == 4:
            mask = mask[:, :, None]
        if mask.ndim == 5:
            return Inpainting(mask=mask, noise_std=noise_std)
    return DeepinvOperator(physics, per_frame, noise_std)


def to_deepinv(operator: LinearOperator) -> "LinearPhysics":
    """deepinv's view of an lvis operator, for use in deepinv's solvers, losses and metrics.

    `A`, `A_adjoint`, `A_dagger` and `prox_l2` are the operator's own, closed forms included, and
    `physics(x)` adds its noise. Images (B, C, H, W) count as videos of one frame; videos
    (B, C, T, H, W) pass as they are.

    Args:
        operator: realised, if it is drawn at random (`LinearOperator.realise`).

    Raises:
        UserError: deepinv is not installed.
    """
    _deepinv()
    from lvis.operators.deepinv_physics import OperatorPhysics

    return OperatorPhysics(operator)


class DeepinvOperator(LinearOperator):
    """See `from_deepinv`."""

    def __init__(
        self, physics: "LinearPhysics", per_frame: bool = True, noise_std: float = 0.0
    ) -> None:
        super().__init__(noise_std)
        self.physics = physics
        self.streamable = per_frame
        self._decomposed = isinstance(physics, _deepinv().physics.DecomposablePhysics)

    def forward(self, x: Tensor) -> Tensor:
        return self._unfold(self.physics.A(self._fold(x)), x.shape[0])

    def adjoint(self, y: Tensor, x_shape: torch.Size | tuple[int, ...] | None = None) -> Tensor:
        return self._unfold(self.physics.A_adjoint(self._fold(y)), y.shape[0])

    def pinv(self, y: Tensor) -> Tensor:
        if not self._decomposed:
            return super().pinv(y)
        return self._unfold(self.physics.A_dagger(self._fold(y)), y.shape[0])

    def prox(self, x: Tensor, y: Tensor, gamma: float | Tensor) -> Tensor:
        # deepinv divides by gamma, and broadcasts a tensor of them against its spectra
        if not self._decomposed or isinstance(gamma, Tensor) or gamma == 0:
            return super().prox(x, y, gamma)
        restored = self.physics.prox_l2(self._fold(x), self._fold(y), gamma)
        return self._unfold(restored, x.shape[0])

    def lift(self, y: Tensor) -> Tensor:
        return y if self.video_shape(y.shape) == y.shape else self.pinv(y)

    def video_shape(self, y_shape: torch.Size | tuple[int, ...]) -> torch.Size:
        with torch.no_grad():
            buffers = (b for b in self.physics.buffers() if b.is_floating_point())
            like = next(buffers, torch.zeros(()))
            return self.adjoint(like.new_zeros(y_shape)).shape

    def _fold(self, video: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B T, C, H, W) with `per_frame`."""
        return video.transpose(1, 2).flatten(0, 1) if self.streamable else video

    def _unfold(self, images: Tensor, batch: int) -> Tensor:
        if not self.streamable:
            return images
        return images.unflatten(0, (batch, -1)).transpose(1, 2)


def _deepinv() -> Any:
    try:
        import deepinv
    except ImportError as error:
        raise UserError(
            f"deepinv cannot be imported ({error}); install it with pip install 'lvis[deepinv]'"
        ) from error
    return deepinv


def _noise_std(physics: "LinearPhysics") -> float:
    noise = _deepinv().physics
    model = physics.noise_model
    if isinstance(model, noise.ZeroNoise):
        return 0.0
    if isinstance(model, noise.GaussianNoise) and torch.as_tensor(model.sigma).numel() == 1:
        return float(model.sigma)
    raise UserError(
        f"the noise model {type(model).__name__} is not Gaussian of one level; give the physics "
        "a deepinv.physics.GaussianNoise(sigma) or a ZeroNoise()"
    )


def _shared_mask(mask: Tensor) -> Tensor | None:
    """The mask with one channel if it is binary and all channels share it, else None."""
    one = mask[:, :1]
    shared = bool((mask == one).all()) and bool(((mask == 0) | (mask == 1)).all())
    return one.bool() if shared else None
