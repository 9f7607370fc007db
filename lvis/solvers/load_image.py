"""Building the baselines (ADMM-TV and those of image priors in pixel space) from a configuration."""

from typing import Any

from lvis.backbone.pixel_prior import PixelPrior
from lvis.errors import UserError
from lvis.solvers.admm_tv import ADMMTVSolver
from lvis.solvers.dps import DPSSolver
from lvis.solvers.load import pick_device
from lvis.solvers.svi import SVISolver
from lvis.weights.pixel_prior import load_pixel_prior


def load_admm_tv_solver(device: str = "auto", **settings: Any) -> ADMMTVSolver:
    """ADMM-TV on `device`.

    Raises:
        UserError: no such device; settings that are not positive.
    """
    return ADMMTVSolver(device=pick_device(device), **settings)


def load_svi_solver(weights: str | None, device: str = "auto", **settings: Any) -> SVISolver:
    """SVI with the prior from `weights`.

    Raises:
        UserError: no such weights or device; settings out of range.
    """
    return SVISolver(_prior(weights, device), device=pick_device(device), **settings)


def load_dps_solver(weights: str | None, device: str = "auto", **settings: Any) -> DPSSolver:
    """DPS with the prior from `weights`.

    Raises:
        UserError: no such weights or device; settings out of range.
    """
    return DPSSolver(_prior(weights, device), device=pick_device(device), **settings)


def _prior(weights: str | None, device: str) -> PixelPrior:
    if weights is None:
        raise UserError("this model names no pixel prior; give one as solver.weights=FOLDER")
    return load_pixel_prior(weights).requires_grad_(False).to(pick_device(device))
