"""Gaussian blur and downsampling of every frame."""

from lvis.errors import UserError
from lvis.operators import kernels
from lvis.operators.axes import Downsample, Gaussian
from lvis.operators.base import require_choice
from lvis.operators.separable import FLOAT32_RCOND, Separable

FILTERS = ("average", "cubic")

# a blur has no smallest singular value to speak of, so the noise of y bounds what may be kept. At
# sigma 3 and with 8-bit measurements, PSNR on natural video peaks here (1e-3 loses 7 dB, 0.1 loses
# 2 dB); with noise, about 2 * noise_std is best
BLUR_RCOND = 0.01


class GaussianBlur(Separable):
    """Gaussian blur, 61 x 61 and sigma 3 in all the papers.

    lift is y itself; adjoint="official" is the identity (AVIS).

    Args:
        size: odd number of taps per side.
        sigma: standard deviation in pixels.
        border: "reflect" (AVIS, VISION-XL), "zero" (InstantViR's code), "replicate" (its
            docstring) or "circular".
        truncate: cut the kernel at this many sigmas; null for all taps, 4 for DPS and AVIS.
        rcond: see `Separable`.
        noise_std, adjoint, cg_iterations, cg_tolerance: see `LinearOperator`.

    Raises:
        UserError: an even size, a sigma that is not positive, an unknown border.
    """

    def __init__(
        self,
        size: int = 61,
        sigma: float = 3.0,
        border: str = "reflect",
        truncate: float | None = None,
        rcond: float = BLUR_RCOND,
        noise_std: float = 0.0,
        adjoint: str = "exact",
        cg_iterations: int | None = None,
        cg_tolerance: float = 1e-6,
    ) -> None:
        if size < 1 or size % 2 == 0:
            raise UserError(f"the blur's size is {size}: give an odd number of taps")
        if sigma <= 0:
            raise UserError(f"the blur's sigma is {sigma}: give a positive number of pixels")
        require_choice("the blur's border", border, kernels.BORDERS)
        axis = Gaussian(size, float(sigma), border, truncate)
        super().__init__(
            rows=axis,
            columns=axis,
            rcond=rcond,
            noise_std=noise_std,
            adjoint=adjoint,
            cg_iterations=cg_iterations,
            cg_tolerance=cg_tolerance,
        )


class Downsampling(Separable):
    """Downsampling by an integer factor, 4 in all the papers.

    lift is bilinear upsampling (align_corners=False), which is also adjoint="official" (AVIS; not
    scaled by 1/16).

    Args:
        factor: by which both sides shrink.
        filter: "average" pooling (AVIS, VISION-XL) or the antialiased "cubic" of Shocher's Resizer
            (InstantViR).
        rcond: see `Separable`.
        noise_std, adjoint, cg_iterations, cg_tolerance: see `LinearOperator`.

    Raises:
        UserError: a factor below 1, an unknown filter; when applied, a side that the factor does
            not divide.
    """

    def __init__(
        self,
        factor: int = 4,
        filter: str = "average",
        rcond: float = FLOAT32_RCOND,
        noise_std: float = 0.0,
        adjoint: str = "exact",
        cg_iterations: int | None = None,
        cg_tolerance: float = 1e-6,
    ) -> None:
        if factor < 1:
            raise UserError(f"the downsampling factor is {factor}: give an integer of 1 or more")
        require_choice("the downsampling filter", filter, FILTERS)
        axis = Downsample(factor, filter)
        super().__init__(
            rows=axis,
            columns=axis,
            rcond=rcond,
            noise_std=noise_std,
            adjoint=adjoint,
            cg_iterations=cg_iterations,
            cg_tolerance=cg_tolerance,
        )
