"""Building the solvers with a latent image prior from a configuration."""

from collections.abc import Mapping
from typing import Any

from lvis.errors import UserError
from lvis.hardware import PRECISIONS, known_precision, pick_device
from lvis.solvers.diffir2vr import DiffIR2VRSolver
from lvis.solvers.frame_prior import FramePrior
from lvis.solvers.load import embedder, transformer_of, vae_of
from lvis.solvers.lvtino import LVTINOSolver
from lvis.solvers.optical_flow import load_optical_flow


def load_lvtino_solver(
    weights: str | Mapping[str, Any] | None,
    image_weights: str | None,
    vae_name: str,
    vae: Mapping[str, Any],
    text_encoder: Mapping[str, Any],
    prior: Mapping[str, Any] | None = None,
    image_vae_weights: str | None = None,
    image_null_embedding: str | None = None,
    image_batch: int = 1,
    prompt_cache: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    **settings: Any,
) -> LVTINOSolver:
    """LVTINO with its two priors.

    Args:
        weights: source of the few-step video prior, or a configuration, as for `load_student_solver`.
        image_weights, image_vae_weights, image_null_embedding: see `load_frame_prior`.
        vae_name, vae: the configuration of the VAE, which must be the video prior's own, "wan".
        prior: further options of `lvis.weights.load_student`, such as `config` and `text_len`.
        image_batch: frames in the image prior at once.
        prompt_cache, device, precision: as for `load_student_solver`.
        settings: of `LVTINOSolver`.

    Raises:
        UserError: no such weights, device or precision; another VAE than the prior's; settings out
            of range.
    """
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
    frames = load_frame_prior(
        image_weights,
        image_vae_weights,
        image_null_embedding,
        "image_weights",
        "image_batch",
        image_batch,
        device,
        precision,
    )
    place = pick_device(device)
    precision = known_precision(precision, place)
    transformer, _ = transformer_of(weights, PRECISIONS[precision], **(prior or {}))
    return LVTINOSolver(
        transformer.to(place),
        vae_of(vae, precision).to(place),
        embedder(text_encoder, prompt_cache),
        frames,
        **settings,
    )


def load_diffir2vr_solver(
    weights: str | None,
    vae_weights: str | None = None,
    null_embedding: str | None = None,
    flow: str | None = None,
    window: int = 10,
    device: str = "auto",
    precision: str = "auto",
    **settings: Any,
) -> DiffIR2VRSolver:
    """DiffIR2VR-Zero with its image prior and its flow.

    Args:
        weights, vae_weights, null_embedding, precision: see `load_frame_prior`.
        flow: see `load_optical_flow`.
        window, settings: of `DiffIR2VRSolver`.

    Raises:
        UserError: no such weights, device or precision; settings out of range.
    """
    prior = load_frame_prior(
        weights, vae_weights, null_embedding, "weights", "window", window, device, precision
    )
    place = pick_device(device)
    return DiffIR2VRSolver(
        prior, load_optical_flow(flow, place), window=window, device=place, **settings
    )


def load_frame_prior(
    weights: str | None,
    vae_weights: str | None,
    null_embedding: str | None,
    key: str,
    batch_key: str,
    batch_size: int,
    device: str,
    precision: str,
) -> FramePrior:
    """The latent image prior of a source.

    Args:
        weights, vae_weights, null_embedding: see `lvis.weights.image_prior.load_image_prior`.
        key, batch_key: what the solver calls the source and the batch size, for messages.
        batch_size: images in a network at once.
        precision: of the UNet, "fp32", "bf16" or "auto"; the VAE stays in float32.

    Raises:
        UserError: no such weights, device or precision.
    """
    if weights is None:
        raise UserError(f"this model names no image prior; give one as solver.{key}=FOLDER")
    if batch_size < 1:
        raise UserError(f"solver.{batch_key}={batch_size} is not positive; give 1 or more")
    place = pick_device(device)
    dtype = PRECISIONS[known_precision(precision, place)]
    from lvis.weights.image_prior import load_image_prior

    prior = load_image_prior(
        weights,
        vae_weights,
        null_embedding,
        batch_size=batch_size,
        dtype=dtype,
    )
    return prior.requires_grad_(False).to(place)
