"""One real step of a small model on this CPU, beside what the plan says of it."""

from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from lvis.distill.build import build_losses, settings_from
from lvis.distill.losses import Losses
from lvis.distill.module import Distillation
from lvis.distill.randomness import Draws
from lvis.errors import UserError
from lvis.metrics.peak_memory import PeakMemory
from lvis.plan.memory import FLOAT32, gradient_bytes, moment_bytes, strategy_of, trained_count
from lvis.plan.networks import fake_mode, parameter_bytes, planned_losses, within
from lvis.plan.step import Step, run_step, saved_activations, transformer_activations

LARGEST = 10**8  # parameters of a model that a CPU takes a step of
Rows = dict[str, tuple[float, float]]  # planned, measured


def check(cfg: DictConfig) -> Rows:
    """(planned, measured) by part, with `weights` as configured and the VAEs in float32: their
    bfloat16 takes other ways on a CPU than on a GPU.

    Raises:
        UserError: the model is too large for this, or its weights are missing.
    """
    chosen: Any = OmegaConf.merge(
        cfg,
        {
            "distill": {
                "encode_dtype": "float32",
                "bridge_dtype": "float32",
                "decode_dtype": "float32",
            }
        },
    )
    settings = settings_from(chosen)
    mode = fake_mode()
    planned = planned_losses(chosen, settings, mode)
    if sum(p.numel() for p in planned.student.parameters()) > LARGEST:
        raise UserError(
            f"check=true takes a real step, and model={chosen.model.name} is too large "
            "for a CPU: use model=tiny"
        )
    losses = build_losses(chosen, settings)
    # one embedding for both: the text encoder is not what is checked
    losses.encode_text = planned.encode_text
    video, latents = shapes(chosen, losses)
    realise(planned, video, latents)
    realise(losses, video, latents)
    memory = PeakMemory(torch.device("cpu"))
    student_update(losses, video)
    resident = memory.peak
    module = Distillation(losses)
    measured: dict[str, float] = {}

    def after_backward(net: nn.Module) -> None:
        name = "student" if net is losses.student else "critic"
        measured[f"{name} gradients"] = sum(
            p.grad.nbytes for p in net.parameters() if p.grad is not None
        )
        optimizer = module.student_optimizer if name == "student" else module.critic_optimizer
        optimizer.step()
        measured[f"{name} Adam moments"] = sum(
            tensor.nbytes for state in optimizer.state.values() for tensor in state.values()
        )

    with within(mode):
        expected = run_step(planned, video)
    real = run_step(losses, video, after_backward=after_backward)
    rows = {
        **state_rows(planned, losses, module, measured),
        **activation_rows(planned, losses, latents, mode),
        **update_rows(expected, real),
    }
    with FlopCounterMode(display=False) as counter:
        student_update(losses, video)
    rows["student update (FLOP, by torch's counter)"] = (
        expected.student.flops,
        counter.get_total_flops(),
    )
    rows["student update, peak of the resident set (bytes)"] = (
        expected.student.peak_bytes,
        resident,
    )
    return rows


def state_rows(
    planned: Losses, losses: Losses, module: Distillation, measured: dict[str, float]
) -> Rows:
    """Weights, gradients, Adam's moments and the average; `measured` has those of the real step."""
    rows: Rows = {}
    for name in ("student", "critic", "teacher", "student_vae", "teacher_vae"):
        real_bytes = sum(p.nbytes for p in getattr(losses, name).parameters())
        rows[f"{name} weights (bytes)"] = (parameter_bytes(getattr(planned, name)), real_bytes)
    for name in ("student", "critic"):
        if f"{name} gradients" in measured:
            gradients = gradient_bytes(planned, strategy_of("single", 1))
            rows[f"{name} gradients (bytes)"] = (gradients, measured[f"{name} gradients"])
            moments = moment_bytes(getattr(planned, name))
            rows[f"{name} Adam moments (bytes)"] = (moments, measured[f"{name} Adam moments"])
    average = sum(value.nbytes for value in module.average.values.values())
    rows["student average (bytes)"] = (trained_count(planned.student) * FLOAT32, average)
    return rows


def activation_rows(
    planned: Losses, losses: Losses, latents: tuple[int, ...], mode: FakeTensorMode
) -> Rows:
    """What the transformer's forward pass keeps for its backward, with and without checkpointing."""
    rows: Rows = {}
    for checkpointing in (False, True):
        with within(mode):
            mine = transformer_activations(planned, latents, checkpointing)
        theirs = transformer_activations(losses, latents, checkpointing)
        name = "with" if checkpointing else "without"
        rows[f"transformer activations {name} checkpointing (bytes)"] = (mine, theirs)
    with within(mode):
        saved = saved_activations(planned, latents)
    rows["transformer activations by autograd's hooks (bytes)"] = (
        saved,
        saved_activations(losses, latents),
    )
    return rows


def update_rows(expected: Step, real: Step) -> Rows:
    """Peak and operations of the parts of a step."""
    rows: Rows = {}
    for name in ("student", "critic", "target"):
        mine, theirs = getattr(expected, name), getattr(real, name)
        if theirs is not None:
            label = "forward for the critic" if name == "target" else f"{name} update"
            rows[f"{label}, peak (bytes)"] = (mine.peak_bytes, theirs.peak_bytes)
            rows[f"{label} (FLOP, by the ledger)"] = (mine.flops, theirs.flops)
    return rows


def student_update(losses: Losses, video: tuple[int, ...]) -> None:
    """The student's part of a step, forward and backward, with nothing watching."""
    clips = video[0] // losses.settings.accumulate
    draws = Draws(0, 0, range(clips))
    prompts = ["a prompt"] * clips
    measurement = losses.measure(torch.zeros(clips, *video[1:]), prompts, draws["measurement"])
    terms, target = losses.student_terms(measurement, draws, losses.settings.prior_weight)
    terms["total"].backward()
    losses.student.zero_grad(set_to_none=True)


def shapes(cfg: DictConfig, losses: Losses) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The video of a process's step and the latents of one micro-batch."""
    height, width = cfg.distill.size
    vae, batch = losses.student_vae, cfg.distill.batch_size
    stride = vae.spatial_stride
    latents = (
        batch // losses.settings.accumulate,
        vae.latent_channels,
        vae.latent_frames(cfg.distill.frames),
        height // stride,
        width // stride,
    )
    return (batch, 3, cfg.distill.frames, height, width), latents


def realise(losses: Losses, video: tuple[int, ...], latents: tuple[int, ...]) -> None:
    """Fix the operator's draw for a micro-batch while numbers are real: fake ones have no values
    to draw."""
    of_micro_batch: Any = (latents[0], *video[1:])
    shape = latents if losses.operator.space == "latent" else of_micro_batch
    losses.operator = losses.operator.realise(shape, torch.Generator().manual_seed(0))
