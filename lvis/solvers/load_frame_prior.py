"""Building the solvers with a latent image prior from a configuration."""

from collections.abc import Mapping
from typing import Any

from lvis.errors import UserError
from lvis.solvers.frame_prior import FramePrior
from lvis.solvers.load import PRECISIONS, embedder, pick_device, transformer_of
from lvis.solvers.lvtino import LVTINOSolver


def load_lvtino_solver(
    weights: str | Mapping[str, Any] | None,
    image_weights: str | Mapping[str, Any] | None,
    vae_name: str,
    vae: Mapping[str, Any],
    text_encoder: Mapping[str, Any],
    prior: Mapping[str, Any] | None = None,
    image_batch: int = 1,
    prompt_cache: str | None = None,
    device: str = "auto",
    precision: str = "fp32",
    **settings: Any,
) -> LVTINOSolver:
    """LVTINO with its two priors.

    Args:
        weights: source of the few-step video prior, or a configuration, as for `load_student_solver`.
        image_weights: source of the image prior, or a configuration with `_target_`.
        vae_name, vae: the configuration of the VAE, which must be the video prior's own, "wan".
        prior: further options of `lvis.weights.load_student`, such as `config` and `text_len`.
        image_batch: frames in the image prior at once.
        prompt_cache, device, precision: as for `load_student_solver`.
        settings: of `LVTINOSolver`.

    Raises:
        UserError: no such weights, device or precision; another VAE than the prior's; settings out
            of range.
    """
    from hydra.utils import instantiate

    if weights is None:
        raise UserError(
            "this model names no few-step video prior; give one, such as CausVid's bidirectional "
            "one, as solver.weights=FILE"
        )
    if vae_name != "wan":
        raise UserError(
            f"solver=lvtino works in its prior's own latent space and cannot use vae={vae_name}; "
            "leave vae out, or set vae=wan"
        )
    if precision not in PRECISIONS:
        raise UserError(f"precision={precision} is not known; use one of {', '.join(PRECISIONS)}")
    frames = load_frame_prior(image_weights, "image_weights", image_batch, device)
    place = pick_device(device)
    transformer, _ = transformer_of(weights, PRECISIONS[precision], **(prior or {}))
    decoding = {"decode_dtype": PRECISIONS[precision]} if precision != "fp32" else {}
    return LVTINOSolver(
        transformer.to(place),
        instantiate(vae, **decoding).to(place),
        embedder(text_encoder, prompt_cache),
        frames,
        **settings,
    )


def load_frame_prior(
    weights: str | Mapping[str, Any] | None, key: str, batch_size: int, device: str
) -> FramePrior:
    """The latent image prior of a source, or of a configuration with `_target_`.

    Args:
        key: the solver's key that names it, for messages.
        batch_size: images in a network at once.

    Raises:
        UserError: no such weights or device.
    """
    if weights is None:
        raise UserError(f"this model names no image prior; give one as solver.{key}=FOLDER")
    if batch_size < 1:
        raise UserError(f"{batch_size} images at once are none; give 1 or more")
    if isinstance(weights, str):
        from lvis.weights.image_prior import load_image_prior

        prior = load_image_prior(weights)
    else:
        from hydra.utils import instantiate

        prior = instantiate(weights)
    prior.batch_size = batch_size
    return prior.requires_grad_(False).to(pick_device(device))
