"""Averages over frames: a long exposure."""

from lvis.errors import UserError
from lvis.operators.axes import Axis, CausalMean, CentredMean
from lvis.operators.base import require_choice
from lvis.operators.separable import Separable

BORDERS = ("causal", "circular", "replicate")

# a 7-frame mean of 81 frames has singular values down to 1/140; only the replicate border's null
# modes are below this
TEMPORAL_RCOND = 1e-3


class TemporalAverage(Separable):
    """Every frame becomes the mean of `window` frames, 7 in the papers.

    lift is y itself; adjoint="official" is the exact adjoint, as in the codes.

    Args:
        window: frames averaged; odd, unless causal.
        border: "causal" averages each frame with those before it, over fewer at the start (AVIS)
            and is the one that streams; "circular" (VISION-XL) and "replicate" (InstantViR's code)
            are centred.
        rcond: see `Separable`.
        noise_std, adjoint, cg_iterations, cg_tolerance: see `LinearOperator`.

    Raises:
        UserError: a window below 1, an even centred window, an unknown border.
    """

    def __init__(
        self,
        window: int = 7,
        border: str = "causal",
        rcond: float = TEMPORAL_RCOND,
        noise_std: float = 0.0,
        adjoint: str = "exact",
        cg_iterations: int | None = None,
        cg_tolerance: float = 1e-6,
    ) -> None:
        require_choice("the temporal average's border", border, BORDERS)
        if window < 1 or (border != "causal" and window % 2 == 0):
            raise UserError(
                f"the temporal average's window is {window} with border={border}: give a positive "
                f"number of frames, "
                "odd unless the border is causal"
            )
        time: Axis = CausalMean(window) if border == "causal" else CentredMean(window, border)
        super().__init__(
            time=time,
            rcond=rcond,
            noise_std=noise_std,
            adjoint=adjoint,
            cg_iterations=cg_iterations,
            cg_tolerance=cg_tolerance,
        )
