"""Solvers from their configuration (conf/solver/*.yaml)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from lvis.backbone import PromptCache, WanTransformer
from lvis.errors import UserError
from lvis.hardware import PRECISIONS, known_precision, pick_device
from lvis.solvers.avis import AVISSolver
from lvis.solvers.correction import ProximalCorrection
from lvis.solvers.initial import InitialEstimate
from lvis.solvers.pinv import PinvSolver
from lvis.solvers.student import StudentSolver
from lvis.vae.base import VideoVAE
from lvis.weights import load_student


def load_pinv_solver(device: str = "auto") -> PinvSolver:
    """The pseudo-inverse on `device`.

    Raises:
        UserError: the device is not there.
    """
    return PinvSolver(pick_device(device))


def load_student_solver(
    weights: str | Mapping[str, Any] | None,
    task: str,
    vae_name: str,
    vae: Mapping[str, Any],
    text_encoder: Mapping[str, Any],
    timestep: float | None = None,
    parametrization: str | None = None,
    input: str | None = None,
    output: str | None = None,
    strength: float = 1.0,
    block_size: int = 3,
    window: int = 21,
    sink: int = 0,
    context_pass: bool = False,
    prompt_cache: str | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> StudentSolver:
    """A distilled student with its VAE and text encoder.

    Args:
        weights: source of the student (docs/architecture.md, "Weights"), or a configuration with
            `_target_` that makes the transformer, such as one with random weights.
        task, vae_name: what it is wanted for; its record must not name another VAE.
        vae, text_encoder: configurations with `_target_`, instantiated here.
        timestep, parametrization, input, output: None takes what the weights' record says, or the defaults
            of `StudentSolver` where it says nothing.
        prompt_cache: folder of prompt embeddings, so that a large text encoder is loaded for new
            prompts only.
        precision: "fp32"; "bf16" for the transformer and the decoder, while the encoder stays in
            float32 (TF32 on CUDA); "auto", see `lvis.hardware.pick_precision`.

    Raises:
        UserError: no such weights, device or precision.
    """
    if weights is None:
        raise UserError(
            f"there is no {vae_name} student for task={task} in this model; distil one with "
            f"python -m lvis.train task={task} vae={vae_name}, give one as solver.weights=PATH, "
            "or use solver=pinv"
        )
    place = pick_device(device)
    precision = known_precision(precision, place)
    transformer, record = transformer_of(weights, PRECISIONS[precision])
    if record.get("vae", vae_name) != vae_name:
        raise UserError(
            f"the student {weights} was distilled with vae={record['vae']}, not vae={vae_name}; "
            f"set vae={record['vae']}"
        )
    chosen = {
        "timestep": timestep,
        "parametrization": parametrization,
        "input": input,
        "output": output,
    }
    recorded = {key: record[key] for key in (*chosen, "tau") if key in record}
    settings = recorded | {key: value for key, value in chosen.items() if value is not None}
    return StudentSolver(
        transformer.to(place),
        vae_of(vae, precision).to(place),
        embedder(text_encoder, prompt_cache),
        block_size=block_size,
        window=window,
        sink=sink,
        context_pass=context_pass,
        strength=strength,
        **settings,
    )


def load_avis_solver(
    weights: str | Mapping[str, Any] | None,
    vae_name: str,
    vae: Mapping[str, Any],
    text_encoder: Mapping[str, Any],
    init: str = "cg",
    init_steps: int = 5,
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
        weights: source of the prior, or a configuration, as for `load_student_solver`.
        vae_name, vae: the configuration of the VAE, which must be the prior's own, "wan".
        init, init_steps, infill: see `InitialEstimate`.
        gamma, gamma_relative, correction_steps: see `ProximalCorrection`.
        prior: further options of `lvis.weights.load_student`, such as `config` and `text_len`.
        settings: of `AVISSolver`.
        prompt_cache, device, precision: as for `load_student_solver`.

    Raises:
        UserError: no such weights, device or precision; another VAE than the prior's; settings out
            of range.
    """
    if weights is None:
        raise UserError(
            "this model names no block-causal prior; give one, such as Self-Forcing's, as "
            "solver.weights=FILE"
        )
    if vae_name != "wan":
        raise UserError(
            f"solver=avis works in its prior's own latent space and cannot use vae={vae_name}; "
            "leave vae out, or set vae=wan"
        )
    place = pick_device(device)
    precision = known_precision(precision, place)
    transformer, _ = transformer_of(weights, PRECISIONS[precision], **(prior or {}))
    return AVISSolver(
        transformer.to(place),
        vae_of(vae, precision).to(place),
        embedder(text_encoder, prompt_cache),
        initial=InitialEstimate(init, init_steps, infill),
        correction=ProximalCorrection(gamma, gamma_relative, correction_steps),
        **settings,
    )


def transformer_of(
    weights: str | Mapping[str, Any], dtype: str, **options: Any
) -> tuple[WanTransformer, dict[str, Any]]:
    """The transformer of a source, read with `options`, or of a configuration with `_target_`, and what
    its record says.

    Raises:
        UserError: see `load_student`.
    """
    from hydra.utils import instantiate

    if isinstance(weights, str):
        return load_student(weights, dtype=dtype, **options)
    return instantiate(weights, dtype=dtype), {}


def vae_of(vae: Mapping[str, Any], precision: str) -> VideoVAE:
    """The VAE of a configuration with `_target_`, its arithmetic as `precision` says."""
    from hydra.utils import instantiate

    if precision == "fp32":
        return instantiate(vae)
    made = instantiate(vae, decode_dtype=PRECISIONS[precision])
    made.tf32 = True
    return made


def embedder(
    text_encoder: Mapping[str, Any], folder: str | None
) -> Callable[[Sequence[str]], Tensor]:
    """Prompts -> text embeddings, by way of `folder` if there is one; the encoder is loaded when first needed."""
    from hydra.utils import instantiate

    if folder is None:
        return lambda prompts: instantiate(text_encoder).encode(prompts)
    return PromptCache(
        Path(folder).expanduser(),
        text_encoder["source"],
        lambda: instantiate(text_encoder),
        text_encoder["text_len"],
    )
