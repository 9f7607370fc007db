"""Building ADMM-TV and the solvers of image priors, in pixels and in latents, from a configuration."""

from typing import Any

from lvis.backbone.pixel_prior import PixelPrior
from lvis.errors import UserError
from lvis.hardware import PRECISIONS, pick_batch, pick_device, pick_precision
from lvis.solvers.admm_tv import ADMMTVSolver
from lvis.solvers.dps import DPSSolver
from lvis.solvers.svi import SVISolver
from lvis.solvers.vision_xl import VisionXLSolver
from lvis.weights.image_prior import load_image_prior
from lvis.weights.pixel_prior import load_pixel_prior

# SDXL was published in float16 and the paper runs it so
IMAGE_PRECISIONS = {**PRECISIONS, "fp16": "float16"}


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


def load_vision_xl_solver(
    weights: str | None,
    vae_weights: str | None = None,
    null_embedding: str | None = None,
    batch_size: int | None = None,
    precision: str = "auto",
    vae_precision: str = "fp32",
    device: str = "auto",
    **settings: Any,
) -> VisionXLSolver:
    """VISION-XL with the image prior from `weights`.

    Args:
        weights, vae_weights, null_embedding: see `load_image_prior`.
        batch_size: images in a network at once; None is 8 on CUDA and 1 elsewhere.
        precision, vae_precision: of the UNet and of the VAE: "fp32", "bf16" or "fp16"; the UNet's
            may be "auto".

    Raises:
        UserError: no such weights, device or precision; settings out of range.
    """
    if weights is None:
        raise UserError("this model names no image prior; give one as solver.weights=FOLDER")
    place = pick_device(device)
    batch_size = pick_batch(batch_size, place)
    if batch_size < 1:
        raise UserError(f"solver.batch_size={batch_size} is not positive; give 1 or more")
    dtypes = IMAGE_PRECISIONS
    precision = pick_precision(precision, place)
    for key, value in {"precision": precision, "vae_precision": vae_precision}.items():
        if value not in dtypes:
            raise UserError(f"solver.{key}={value} is not known; use one of {', '.join(dtypes)}")
    prior = load_image_prior(
        weights,
        vae_weights,
        null_embedding,
        batch_size=batch_size,
        dtype=dtypes[precision],
        vae_dtype=dtypes[vae_precision],
    )
    return VisionXLSolver(prior.requires_grad_(False).to(place), device=place, **settings)


def _prior(weights: str | None, device: str) -> PixelPrior:
    if weights is None:
        raise UserError("this model names no pixel prior; give one as solver.weights=FOLDER")
    return load_pixel_prior(weights).requires_grad_(False).to(pick_device(device))
