"""What a training run is about to do, in a table, before it does it."""

from pathlib import Path

from omegaconf import DictConfig
from rich.table import Table
from torch import nn

from lvis.distill.lora import trained
from lvis.distill.module import Distillation

GIB = 2**30


def plan_table(
    cfg: DictConfig, module: Distillation, processes: int, resumed_from: Path | None
) -> Table:
    """Sizes, batch, ratio and memory, derived and not copied where they can be derived."""
    table = Table(title="distillation", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in plan(cfg, module, processes, resumed_from).items():
        table.add_row(name, text)
    return table


def plan(
    cfg: DictConfig, module: Distillation, processes: int, resumed_from: Path | None
) -> dict[str, str]:
    """The plan's rows."""
    losses, settings = module.losses, module.settings
    height, width = cfg.distill.size
    vae, patch = losses.student_vae, losses.student.patch_size
    t = vae.latent_frames(cfg.distill.frames)
    h, w = height // vae.spatial_stride, width // vae.spatial_stride
    tokens = t * (h // patch[1]) * (w // patch[2])
    micro = cfg.distill.batch_size // settings.accumulate
    rows = {
        "task": f"{cfg.task.name}, vae={cfg.vae.name}, model={cfg.model.name}",
        "operator": type(losses.operator).__name__ + f", noise {losses.operator.noise_std:g}",
        "clips": f"{cfg.distill.frames} frames of {height} x {width}",
        "latents": f"{t} frames of {h} x {w}: {tokens} tokens, "
        f"{-(-t // settings.block_size)} blocks of {settings.block_size}",
        "batch": f"{cfg.distill.batch_size * processes} clips per step ({processes} process(es) x "
        f"{settings.accumulate} x {micro})",
        "updates": _updates(module),
        "loss": f"{settings.likelihood_weight:g} likelihood + {settings.prior_weight:g} prior"
        + (" on the masked region" if settings.prior_on_masked_only else ""),
        "prior": f"guidance {settings.guidance_scale:g} ({settings.guidance_convention}), shift "
        f"{settings.shift:g}, {settings.ramp} warm-up of {settings.warmup_steps} steps",
        "bridge": "student latents -> D' -> E -> teacher" if module.losses.bridged else "none",
        "student": f"{_millions(losses.student)}, one step at t = {settings.timestep:g}, "
        f"{settings.parametrization}, rate {settings.student_learning_rate:g}, "
        f"clip {settings.clip_norm:g}",
        "memory": f"{memory_bytes(module) / GIB:.2f} GiB of weights, gradients, optimisers and "
        "averages per process; activations come on top",
        "steps": f"{module.step} of {cfg.trainer.max_steps} done",
        "output": str(cfg.output),
    }
    if resumed_from is not None:
        rows["resumed from"] = resumed_from.name
    return rows


def memory_bytes(module: Distillation) -> int:
    """Bytes that stay allocated in training: weights, and for a trained net gradients and AdamW's
    two moments."""
    losses = module.losses
    weights = sum(p.nbytes for p in losses.parameters())  # what networks share, once
    updated = _trained_bytes(losses.student)
    average = updated * (module.settings.ema_decay > 0)
    if module.settings.prior_weight > 0:
        updated += _trained_bytes(losses.critic)
    return weights + 3 * updated + average


def _updates(module: Distillation) -> str:
    settings = module.settings
    if settings.prior_weight == 0:
        return "student only (no prior)"
    text = f"{settings.ratio} critic updates to one of the student"
    if settings.initial_steps:
        text += (
            f", after {settings.initial_steps} steps of {settings.initialisation} initialisation"
        )
    if settings.likelihood_only_steps:
        text += f", after {settings.likelihood_only_steps} steps of likelihood only"
    return text


def _trained_bytes(net: nn.Module) -> int:
    return sum(p.nbytes for _, p in trained(net))


def _millions(net: nn.Module) -> str:
    every = sum(p.numel() for p in net.parameters())
    updated = sum(p.numel() for _, p in trained(net))
    more = "" if updated == every else f", {updated / 1e6:.1f} M of them trained"
    return f"{every / 1e6:.1f} M parameters{more}"
