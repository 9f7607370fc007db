"""`python -m lvis.plan experiment=instantvir_lean_inpaint trainer=fsdp devices=8`: what a training run will need.

Memory per GPU by part, operations per step and hours, from tensors without storage: nothing is loaded. `check=true`
with `model=tiny` runs one real step on this CPU and puts what was measured beside the plan.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch._subclasses.fake_tensor import DataDependentOutputException

from lvis.cli.config import entry, plain
from lvis.cli.progress import console
from lvis.distill.build import settings_from
from lvis.distill.losses import Losses
from lvis.errors import UserError
from lvis.files import write_text
from lvis.plan.check import check as check_on_cpu
from lvis.plan.check import realise, shapes
from lvis.plan.gpus import GB, MEMORY_CLASSES, gpu_of
from lvis.plan.memory import (
    FSDP,
    Strategy,
    count,
    gradient_bytes,
    optimiser_bytes,
    persistent_parts,
    strategy_of,
    trained_count,
)
from lvis.plan.networks import fake_mode, planned_losses, within, without_storage
from lvis.plan.operations import by, hours, step_operations
from lvis.plan.report import FORMAT, Plan, markdown, show
from lvis.plan.step import TEXT, Step, run_step, transformer_activations
from lvis.provenance import code_version, today
from lvis.train.settings import check_values


def plan(cfg: DictConfig) -> Plan:
    """Make the plan, print it, and with `output` write plan.json and plan.md there.

    Raises:
        UserError: a key out of its range, an unknown GPU or strategy.
    """
    check_values(cfg)
    check_keys(cfg)
    settings = settings_from(cfg)
    strategy = strategy_of(cfg.trainer.strategy, cfg.devices)
    gpu = gpu_of(cfg.gpu)
    mode = fake_mode()
    losses = planned_losses(cfg, settings, mode)
    video, latents = shapes(cfg, losses)
    realise(losses, video, latents)
    encoder = None if cfg.distill.prompt_cache else without_storage(cfg.model.text_encoder)
    with within(mode), countable(cfg.task.name):
        step = run_step(losses, video, strategy.share)
        kept = {
            checkpointing: transformer_activations(losses, latents, checkpointing)
            for checkpointing in (False, True)
        }
    operations = step_operations(step, settings)
    steps = cfg.trainer.max_steps
    average = operations["average step"]
    sharing = cfg.trainer.sequence_parallel
    group = "GPU" if sharing == 1 else f"{sharing} GPUs"
    result: Plan = {
        "format": FORMAT,
        "what": {
            "run": f"{cfg.task.name}, vae={cfg.vae.name}, model={cfg.model.name}",
            "strategy": f"{strategy.name}, {strategy.devices} GPU(s)",
            "gpu": gpu.name,
            "clips": f"{video[0]} per {group} and step in {settings.accumulate} micro-batch(es), "
            f"{video[2]} frames of {video[3]} x {video[4]}",
            "student": f"{count(losses.student) / 1e6:.1f} M parameters, "
            f"{trained_count(losses.student) / 1e6:.1f} M trained",
            "checkpointing": settings.checkpoint_activations,
            "autocast": settings.autocast,
            "commit": code_version(),
            "date": today(),
            "torch": torch.__version__,
        },
        "memory": memory(losses, strategy, step, kept, encoder, video[0]),
        "operations": {
            name: {"all": sum(value.values())}
            | {f"by {what}": by(value, i) for i, what in enumerate(("stage", "kind", "precision"))}
            for name, value in operations.items()
        },
        "time": {
            "training steps": steps,
            "mfu (assumed)": float(cfg.mfu),
            "seconds an average step": gpu.seconds(average, cfg.mfu),
            "hours": hours(average, steps, gpu, cfg.mfu),
            "days": hours(average, steps, gpu, cfg.mfu) / 24,
            "clips seen": steps * video[0] * strategy.devices // sharing,
        },
        "notes": notes(strategy, settings.likelihood_only_steps, cfg.check, sharing),
        "config": plain(cfg),
    }
    if cfg.check:
        result["check"] = check_on_cpu(cfg)
    show(result, console)
    if cfg.output:
        folder = Path(cfg.output)
        write_text(folder / "plan.json", json.dumps(result, indent=1, default=str) + "\n")
        write_text(folder / "plan.md", markdown(result))
        console.print(f"written to {folder}", markup=False, soft_wrap=True)
    return result


def memory(
    losses: Losses,
    strategy: Strategy,
    step: Step,
    kept: dict[bool, float],
    encoder: Any,
    clips: int,
) -> Plan:
    """The memory of one GPU: throughout, for a while, and at the peak."""
    persistent = persistent_parts(losses, strategy, encoder)
    always = sum(persistent.values())
    phases = {
        "student update": step.student,
        "critic update": step.critic,
        "forward for the critic alone": step.target,
    }
    moments: dict[str, dict[str, Any]] = {
        name: {"bytes": phase.peak_bytes, "stage": phase.stage, "parts": _positive(phase.peak)}
        for name, phase in phases.items()
        if phase is not None
    }
    gradients = gradient_bytes(losses, strategy)
    moments["optimiser's step"] = {
        "bytes": optimiser_bytes(losses, strategy),
        "stage": "AdamW",
        "parts": {"gradients": gradients, "square roots of second moments": gradients},
    }
    peak = always + max(moment["bytes"] for moment in moments.values())
    text = losses.encode_text.shape  # type: ignore[union-attr]
    return {
        "persistent": persistent,
        "persistent_bytes": always,
        "for a while": {
            "gradients of one net": gradients,
            "student activations, one micro-batch, without checkpointing": kept[False],
            "student activations, one micro-batch, with checkpointing": kept[True],
            "VAE decode, at the worst moment": _most(step, "student VAE decode"),
            "VAE encode and bridge, at the worst moment": max(
                _most(step, "student VAE encode"), _most(step, "teacher VAE encode")
            ),
            "bf16 copies of weights, at the worst moment": _most(
                step, "low-precision copies of weights"
            ),
            f"{TEXT} of the clips": clips * text[0] * text[1] * 4,
        },
        "moments": moments,
        "peak_bytes": peak,
        "fits": {str(size // GB): peak <= size for size in MEMORY_CLASSES},
    }


@contextmanager
def countable(task: str) -> Iterator[None]:
    """Raises UserError where an operator's work depends on values, which a plan does not have."""
    try:
        yield
    except DataDependentOutputException as error:
        raise UserError(
            f"task={task} iterates until it converges, which cannot be counted beforehand: plan another task; the "
            "networks' part is the same"
        ) from error


def check_keys(cfg: DictConfig) -> None:
    """The ranges of the plan's own keys.

    Raises:
        UserError: names the key, its value and the fix.
    """
    if cfg.devices % cfg.trainer.sequence_parallel:
        raise UserError(
            f"trainer.sequence_parallel={cfg.trainer.sequence_parallel} does not divide devices={cfg.devices}: use a "
            "divisor"
        )
    if not 0 < cfg.mfu <= 1:
        raise UserError(f"mfu={cfg.mfu} is not a share of the peak rate: use more than 0, up to 1")


def notes(
    strategy: Strategy, likelihood_only_steps: int, checked: bool, sharing: int = 1
) -> list[str]:
    """What the numbers are and are not."""
    found = [
        "GB are 1e9 bytes. Memory is that of tensors: what kernels use inside, the CUDA context, "
        "communication and the allocator's fragments come on top.",
        "The masked attention is planned block by block; on the GPU flex_attention computes the "
        "same scores and materialises no mask either.",
        "Operations are those of matrix products, convolutions and attention. The hours divide "
        "them by the peak rate of their precision times mfu, which is assumed; loading, "
        "communication, validation and everything bound by memory bandwidth hide in mfu.",
    ]
    if checked:
        found.append(
            "The resident set of the check holds what the CPU's kernels use inside and what the "
            "allocator keeps, which the plan leaves out."
        )
    if strategy.name == FSDP:
        found.append(
            "FSDP: weights, gradients, moments and the average of student, critic and teacher are "
            "divided by the number of GPUs; VAEs and the copies that autocast makes are not."
        )
    if sharing > 1:
        found.append(
            f"Sequence parallelism: {sharing} GPUs share the tokens of each clip in the transformers; each runs the "
            "VAEs on the whole clip."
        )
    if likelihood_only_steps:
        found.append(
            f"The first {likelihood_only_steps} steps, of likelihood alone, are counted as full "
            "steps: the hours are an upper bound."
        )
    return found


def _most(step: Step, part: str) -> float:
    phases = (step.student, step.critic, step.target)
    return max((phase.highest[part] for phase in phases if phase is not None), default=0.0)


def _positive(parts: Any) -> dict[str, float]:
    return {name: size for name, size in parts.most_common() if size > 0}


main = entry("plan")(plan)
