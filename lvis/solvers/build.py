"""Solvers from their configuration: the functions that conf/solver/*.yaml name.

All take `device` ("auto", "cpu", "cuda", ...), most a `precision` and the source of their `weights`
(docs/architecture.md, "Weights"); other settings are those of the solver's class. They raise
UserError for weights, a device or a precision that is not there, and for settings out of range.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from lvis.backbone import PromptCache, WanTransformer
from lvis.backbone.image_prior import ImagePrior
from lvis.backbone.pixel_prior import PixelPrior
from lvis.cli.build import build
from lvis.errors import UserError
from lvis.hardware import PRECISIONS, known_precision, pick_batch, pick_device, pick_precision
from lvis.kernels.fp8 import quantise
from lvis.solvers.admm_tv import ADMMTVSolver
from lvis.solvers.avis import AVISSolver
from lvis.solvers.consistency import EIGHT_BITS, consistency_of
from lvis.solvers.correction import ProximalCorrection
from lvis.solvers.diffir2vr import DiffIR2VRSolver
from lvis.solvers.dps import DPSSolver
from lvis.solvers.initial import InitialEstimate
from lvis.solvers.lvtino import LVTINOSolver
from lvis.solvers.optical_flow import load_optical_flow
from lvis.solvers.pinv import PinvSolver
from lvis.solvers.student import StudentSolver
from lvis.solvers.svi import SVISolver
from lvis.solvers.vision_xl import VisionXLSolver
from lvis.vae.base import VideoVAE
from lvis.weights import load_student
from lvis.weights.image_prior import load_image_prior
from lvis.weights.pixel_prior import load_pixel_prior

# SDXL was published in float16 and VISION-XL's paper runs it so
IMAGE_PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}

# a source, or a configuration with `_target_` that makes the transformer, such as one with random weights
Weights = str | Mapping[str, Any] | None
# what a student's record calls these settings
RECORDED = {"x_init": "input", "x_hat": "output"}
Networks = tuple[WanTransformer, VideoVAE, Callable[[Sequence[str]], Tensor]]


def settled(cfg: DictConfig) -> DictConfig:
    """The configuration with what this machine decides in it, for results and their digests:
    `precision=auto`, and the batch of an image prior.

    Raises:
        UserError: no such device.
    """
    settled = cfg.copy()
    device = pick_device(cfg.device)
    settled.precision = pick_precision(cfg.precision, device)
    if "batch_size" in cfg.solver:
        settled.solver.batch_size = pick_batch(cfg.solver.batch_size, device)
    return settled


def build_solver(cfg: DictConfig) -> Any:
    """The composed `lvis.solvers.base.Solver` with the last step that `consistency`, `tau` and `floor` ask for.

    Raises:
        UserError: as of `build`, or a value that these keys do not take.
    """
    solver = build(cfg.solver)
    tau = solver.tau if cfg.tau is None else cfg.tau
    floor = EIGHT_BITS if cfg.floor is None else cfg.floor
    solver.consistency = consistency_of(cfg.consistency, tau, floor)
    return solver


def pinv(device: str = "auto") -> PinvSolver:
    """The pseudo-inverse."""
    return PinvSolver(pick_device(device))


def admm_tv(device: str = "auto", **settings: Any) -> ADMMTVSolver:
    """ADMM-TV."""
    return ADMMTVSolver(device=pick_device(device), **settings)


def svi(weights: str | None, device: str = "auto", **settings: Any) -> SVISolver:
    """SVI with its pixel prior."""
    return SVISolver(_pixel_prior(weights, device), device=pick_device(device), **settings)


def dps(weights: str | None, device: str = "auto", **settings: Any) -> DPSSolver:
    """DPS with its pixel prior."""
    return DPSSolver(_pixel_prior(weights, device), device=pick_device(device), **settings)


def vision_xl(
    weights: str | None,
    vae_weights: str | None = None,
    null_embedding: str | None = None,
    batch_size: int | None = None,
    precision: str = "auto",
    vae_precision: str = "auto",
    device: str = "auto",
    **settings: Any,
) -> VisionXLSolver:
    """VISION-XL with its image prior, whose UNet and VAE may be "fp16", too.

    Args:
        weights, vae_weights, null_embedding: see `load_image_prior`.
        batch_size: images in a network at once; None is 8 on CUDA and 1 elsewhere.
    """
    place = pick_device(device)
    precisions = {"precision": pick_precision(precision, place), "vae_precision": vae_precision}
    for key, value in precisions.items():
        if value not in IMAGE_PRECISIONS:
            known = ", ".join(IMAGE_PRECISIONS)
            raise UserError(f"solver.{key}={value} is not known; use one of {known}")
    dtype, vae_dtype = (IMAGE_PRECISIONS[value] for value in precisions.values())
    keys = {"weights": weights, "batch_size": pick_batch(batch_size, place)}
    prior = _image_prior(keys, vae_weights, null_embedding, place, dtype, vae_dtype=vae_dtype)
    return VisionXLSolver(prior, device=place, **settings)


def diffir2vr(
    weights: str | None,
    vae_weights: str | None = None,
    null_embedding: str | None = None,
    flow: str | None = None,
    group: int = 10,
    device: str = "auto",
    precision: str = "auto",
    **settings: Any,
) -> DiffIR2VRSolver:
    """DiffIR2VR-Zero with its image prior and its flow.

    Args:
        weights, vae_weights, null_embedding: see `load_image_prior`.
        flow: see `load_optical_flow`.
        group: of `DiffIR2VRSolver`; the images in a network at once.
    """
    place = pick_device(device)
    dtype = PRECISIONS[known_precision(precision, place)]
    keys = {"weights": weights, "group": group}
    prior = _image_prior(keys, vae_weights, null_embedding, place, dtype)
    motion = load_optical_flow(flow, place)
    return DiffIR2VRSolver(prior, motion, group=group, device=place, **settings)


def lvtino(
    weights: Weights,
    image_weights: str | None,
    vae_name: str,
    vae: Mapping[str, Any],
    text_encoder: Mapping[str, Any],
    prior: Mapping[str, Any] | None = None,
    image_vae_weights: str | None = None,
    image_null_embedding: str | None = None,
    batch_size: int = 1,
    prompt_cache: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    **settings: Any,
) -> LVTINOSolver:
    """LVTINO with its video prior and its image prior.

    Args:
        weights, prior, vae_name, vae, text_encoder, prompt_cache: as of `avis`.
        image_weights, image_vae_weights, image_null_embedding: see `load_image_prior`.
        batch_size: frames in the image prior at once.
    """
    if weights is None:
        raise UserError(
            "this model names no few-step video prior; give one, such as CausVid's bidirectional "
            "one, as solver.weights=FILE"
        )
    _require_wan("lvtino", vae_name)
    place = pick_device(device)
    dtype = PRECISIONS[known_precision(precision, place)]
    keys = {"image_weights": image_weights, "batch_size": batch_size}
    images = _image_prior(keys, image_vae_weights, image_null_embedding, place, dtype)
    networks, _ = _video_networks(
        weights, vae, text_encoder, prompt_cache, device, precision, prior or {}
    )
    return LVTINOSolver(*networks, images, **settings)


def avis(
    weights: Weights,
    vae_name: str,
    vae: Mapping[str, Any],
    text_encoder: Mapping[str, Any],
    x_init: str = "cg",
    x_init_steps: int = 5,
    infill: str = "nearest",
    gamma: float = 1.0,
    gamma_relative: bool = True,
    correction_steps: int | None = None,
    prompt_cache: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    prior: Mapping[str, Any] | None = None,
    **settings: Any,
) -> AVISSolver:
    """AVIS with its block-causal prior, VAE and text encoder.

    Args:
        vae_name, vae: the configuration of the VAE, which must be the prior's own, "wan".
        text_encoder: its configuration; it is loaded when a prompt needs it.
        x_init, x_init_steps, infill: see `InitialEstimate`.
        gamma, gamma_relative, correction_steps: see `ProximalCorrection`.
        prior: further options of `lvis.weights.load_student`, such as `config` and `text_len`.
        prompt_cache: folder of prompt embeddings, so that a large text encoder is loaded for new
            prompts only.
        precision: "fp32"; "bf16" for the transformer and the decoder, while the encoder stays in
            float32 (TF32 on CUDA); "fp8", which is that with the linear layers of the transformer's blocks in
            float8 (`lvis.kernels.fp8`), slow where the GPU has none; "auto", see `lvis.hardware.pick_precision`.
    """
    if weights is None:
        raise UserError(
            "this model names no block-causal prior; give one, such as Self-Forcing's, as "
            "solver.weights=FILE"
        )
    _require_wan("avis", vae_name)
    networks, _ = _video_networks(
        weights, vae, text_encoder, prompt_cache, device, precision, prior or {}
    )
    return AVISSolver(
        *networks,
        initial=InitialEstimate(x_init, x_init_steps, infill),
        correction=ProximalCorrection(gamma, gamma_relative, correction_steps),
        **settings,
    )


def student(
    weights: Weights,
    task: str,
    vae_name: str,
    vae: Mapping[str, Any],
    text_encoder: Mapping[str, Any],
    timestep: float | None = None,
    parametrization: str | None = None,
    x_init: str | None = None,
    x_hat: str | None = None,
    context_pass: bool | None = None,
    prompt_cache: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    **settings: Any,
) -> StudentSolver:
    """A distilled student with its VAE and text encoder.

    Args:
        task, vae_name: what it is wanted for; its record must not name another VAE.
        vae, text_encoder, prompt_cache, precision: as of `avis`.
        timestep, parametrization, x_init, x_hat, context_pass: None takes what the weights' record says, or the
            defaults of `StudentSolver` where it says nothing.
    """
    if weights is None:
        raise UserError(
            f"there is no {vae_name} student for task={task} in this model; distil one with "
            f"python -m lvis.train task={task} vae={vae_name}, give one as solver.weights=PATH, "
            "or use solver=pinv"
        )
    networks, record = _video_networks(weights, vae, text_encoder, prompt_cache, device, precision)
    if record.get("vae", vae_name) != vae_name:
        raise UserError(
            f"the student {weights} was distilled with vae={record['vae']}, not vae={vae_name}; "
            f"set vae={record['vae']}"
        )
    chosen = {
        "timestep": timestep,
        "parametrization": parametrization,
        "x_init": x_init,
        "x_hat": x_hat,
        "context_pass": context_pass,
    }
    names = {key: key for key in (*chosen, "tau")} | RECORDED
    settings |= {key: record[name] for key, name in names.items() if name in record}
    settings |= {key: value for key, value in chosen.items() if value is not None}
    return StudentSolver(*networks, **settings)


def _require_wan(solver: str, vae_name: str) -> None:
    if vae_name != "wan":
        raise UserError(
            f"solver={solver} works in its prior's own latent space and cannot use vae={vae_name}; "
            "leave vae out, or set vae=wan"
        )


def _video_networks(
    weights: str | Mapping[str, Any],
    vae: Mapping[str, Any],
    text_encoder: Mapping[str, Any],
    prompt_cache: str | None,
    device: str,
    precision: str,
    options: Mapping[str, Any] | None = None,
) -> tuple[Networks, dict[str, Any]]:
    """Transformer, VAE and prompts' embedder, and what the transformer's record says."""
    from hydra.utils import instantiate

    place = pick_device(device)
    precision = known_precision(precision, place, fp8=True)
    dtype = PRECISIONS[precision]
    if isinstance(weights, str):
        transformer, record = load_student(weights, dtype=dtype, **(options or {}))
    else:
        transformer, record = instantiate(weights, dtype=dtype), {}
    video_vae = vae_of(vae, precision).to(place)
    transformer = transformer.to(place)
    if precision == "fp8":
        quantise(transformer.net.blocks)
    return (transformer, video_vae, _embedder(text_encoder, prompt_cache)), record


def vae_of(vae: Mapping[str, Any], precision: str) -> VideoVAE:
    """The VAE of a configuration with `_target_`, its arithmetic as `precision` says."""
    from hydra.utils import instantiate

    if precision == "fp32":
        return instantiate(vae)
    made = instantiate(vae, decode_dtype=PRECISIONS[precision])
    made.tf32 = True
    return made


def _embedder(
    text_encoder: Mapping[str, Any], folder: str | None
) -> Callable[[Sequence[str]], Tensor]:
    """Prompts -> text embeddings, by way of `folder` if there is one."""
    from hydra.utils import instantiate

    if folder is None:
        return lambda prompts: instantiate(text_encoder).encode(prompts)
    return PromptCache(
        Path(folder).expanduser(),
        text_encoder["source"],
        lambda: instantiate(text_encoder),
        text_encoder["text_len"],
    )


def _pixel_prior(weights: str | None, device: str) -> PixelPrior:
    if weights is None:
        raise UserError("this model names no pixel prior; give one as solver.weights=FOLDER")
    return load_pixel_prior(weights).requires_grad_(False).to(pick_device(device))


def _image_prior(
    keys: Mapping[str, Any],
    vae_weights: str | None,
    null_embedding: str | None,
    device: torch.device,
    dtype: str,
    **options: str,
) -> ImagePrior:
    """The latent image prior; `keys` has the solver's names for its source and its batch size."""
    (source, weights), (batch, batch_size) = keys.items()
    if weights is None:
        raise UserError(f"this model names no image prior; give one as solver.{source}=FOLDER")
    if batch_size < 1:
        raise UserError(f"solver.{batch}={batch_size} is not positive; give 1 or more")
    prior = load_image_prior(
        weights, vae_weights, null_embedding, batch_size=batch_size, dtype=dtype, **options
    )
    return prior.requires_grad_(False).to(device)
