"""The solver to time: as configured, or with random weights in the sizes of its model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from lvis.backbone.compiled import CompiledStep
from lvis.benchmark.settings import Settings
from lvis.errors import UserError
from lvis.operators import LinearOperator
from lvis.solvers.base import Solver
from lvis.solvers.build import build_solver as build_configured


class RandomText:
    """Text embeddings of the right size (B, text_len, text_dim) without a text encoder: the largest
    of Wan's networks runs once per prompt and never in a stream."""

    def __init__(self, text_len: int, text_dim: int) -> None:
        self.shape = (text_len, text_dim)

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return torch.randn(len(prompts), *self.shape, generator=generator)


def build_solver(cfg: DictConfig, settings: Settings) -> Solver:
    """The configured solver, its networks as `weights` and `optimise` say.

    Raises:
        UserError: missing weights, or an optimisation that the solver or the device cannot do.
    """
    if settings.weights == "random":
        cfg = with_random_weights(cfg)
    solver = build_configured(cfg)
    if settings.weights == "random" and hasattr(solver, "embed_text"):
        transformer = solver.transformer
        text_len = transformer.text_len or int(cfg.model.text_len)
        solver.embed_text = RandomText(text_len, transformer.text_dim)
    if settings.compile:
        compile_step(solver, settings.compile)
    return solver


def realised(operator: LinearOperator, size: tuple[int, int], seed: int) -> LinearOperator:
    """The operator with its draw fixed, for a video of `size`."""
    return operator.realise((1, 3, 1, *size), torch.Generator().manual_seed(seed))


def with_random_weights(cfg: DictConfig) -> DictConfig:
    """`cfg` with every network of the solver drawn at random from the model's configuration."""
    chosen: Any = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    if "weights" in chosen.solver:
        teacher: Any = OmegaConf.to_container(chosen.model.teacher)
        OmegaConf.update(chosen, "solver.weights", {**teacher, "weights": "random"}, force_add=True)
    if "vae" in chosen.solver:
        chosen.solver.vae.weights = "random"
    return chosen


def compile_step(solver: Solver, mode: str, backend: str = "inductor") -> None:
    """Compile the transformer's step against a full window, see `CompiledStep`.

    Raises:
        UserError: the solver has no transformer.
    """
    if not hasattr(solver, "transformer"):
        raise UserError(
            f"optimise.compile={mode} needs a transformer and solver={solver.name} has none; "
            "leave it out"
        )
    solver.transformer.compiled = CompiledStep(solver.transformer, mode, backend)


@contextmanager
def attention_backend(name: str, device: torch.device) -> Iterator[None]:
    """scaled_dot_product_attention's backend within: auto, flash, cudnn, efficient or math.

    Raises:
        UserError: the device has no such backend, or the backend none for what it is given.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if name == "auto":
        yield
        return
    if device.type == "cpu" and name not in ("flash", "math"):
        raise UserError(
            f"optimise.attention={name} needs a CUDA device; use auto, flash or math on the CPU"
        )
    backends = {
        "flash": SDPBackend.FLASH_ATTENTION,
        "cudnn": SDPBackend.CUDNN_ATTENTION,
        "efficient": SDPBackend.EFFICIENT_ATTENTION,
        "math": SDPBackend.MATH,
    }
    try:
        with sdpa_kernel(backends[name]):
            yield
    except RuntimeError as error:
        if "No available kernel" not in str(error):
            raise
        raise UserError(
            f"optimise.attention={name} has no kernel for these sizes and this precision on "
            f"{device.type}; use auto or math"
        ) from error
