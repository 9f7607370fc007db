"""What `conf/trainer` may hold, and whether this machine and this job have what it asks for."""

import os
from typing import Annotated, Literal

import torch
from lightning.pytorch.plugins.environments import SLURMEnvironment
from omegaconf import DictConfig
from pydantic import Field

from lvis.cli.schema import Count, CountOrNone, Keys, Number, Whole, conform, shown
from lvis.distill.parallel import STRATEGIES
from lvis.errors import UserError

Accelerator = Literal["cpu", "gpu", "cuda", "mps", "auto"]


class TrainerKeys(Keys):
    """`conf/trainer`; the files say what each is for."""

    max_steps: CountOrNone
    save_every: Count
    keep: Count
    validate_every: CountOrNone
    validation_clips: CountOrNone
    log_every: Count
    spike_factor: Annotated[Number, Field(gt=1)] | None
    most_spikes: CountOrNone
    threads: Count | None
    accelerator: Accelerator
    devices: Count | list[CountOrNone] | Literal["auto"]
    num_nodes: Count
    strategy: Literal[STRATEGIES]  # type: ignore[valid-type]
    sequence_parallel: Count = 1


class DistillKeys(Keys):
    """The keys of `conf/distill` that are not `Settings`."""

    size: Annotated[
        list[Annotated[Whole, Field(ge=16, multiple_of=16)]], Field(min_length=2, max_length=2)
    ]
    frames: Count
    batch_size: Count
    accumulate: Count
    block_size: Count
    zero_head: bool
    student_sees_operator: bool


class TrainKeys(Keys):
    """The command's own keys."""

    seed: CountOrNone
    continue_changed: bool


def check(cfg: DictConfig) -> None:
    """`check_values`, and that this machine and this job can do what they say.

    Raises:
        UserError: names the key, its value and the fix.
    """
    trainer = check_values(cfg)
    check_devices(trainer)
    check_slurm(trainer)


def check_values(cfg: DictConfig) -> TrainerKeys:
    """The command's, `trainer`'s and part of `distill`'s keys, on whatever machine.

    Raises:
        UserError: names the key, its value and the fix.
    """
    if cfg.vae.get("latents", cfg.vae.name) != cfg.vae.name:
        raise UserError(
            f"vae={cfg.vae.name} is for restoring: train with vae={cfg.vae.latents}, whose students it takes"
        )
    conform(TrainKeys, cfg, "")
    trainer = conform(TrainerKeys, cfg.trainer, "trainer")
    distill = conform(DistillKeys, cfg.distill, "distill")
    if distill.batch_size % distill.accumulate:
        raise UserError(
            f"distill.batch_size={distill.batch_size} does not divide by distill.accumulate="
            f"{distill.accumulate}: use a multiple"
        )
    if cfg.vae.module is None or "_target_" not in cfg.vae.module:
        raise UserError(
            f"model={cfg.model.name} has no VAE for vae={cfg.vae.name}: use vae=wan, or name one as "
            f"model.vaes.{cfg.vae.name}"
        )
    step = 4 * distill.block_size
    if (distill.frames + 3) % step:
        raise UserError(
            f"distill.frames={distill.frames} does not fill blocks of {distill.block_size} latent "
            f"frames: use {step - 3}, {2 * step - 3}, {3 * step - 3}, ..."
        )
    return trainer


def check_devices(trainer: TrainerKeys) -> None:
    """Whether the accelerator is here, and as many devices as asked for.

    Raises:
        UserError: they are not.
    """
    devices, accelerator = trainer.devices, trainer.accelerator
    count = len(devices) if isinstance(devices, list) else devices
    if count == 0:
        raise UserError("trainer.devices=[] names no device; give a number, or their numbers")
    if accelerator in ("gpu", "cuda"):
        there = torch.cuda.device_count()
        if not there and not (accelerator == "gpu" and torch.backends.mps.is_available()):
            raise UserError(
                f"trainer.accelerator={accelerator} and there is no GPU here: use trainer=cpu, or "
                "trainer.accelerator=cpu with this one"
            )
        most = max(devices) + 1 if isinstance(devices, list) else count
        if there and most != "auto" and isinstance(most, int) and most > there:
            raise UserError(f"trainer.devices={devices} and there are {there} GPUs: use fewer")
    elif accelerator == "mps" and not torch.backends.mps.is_available():
        raise UserError("trainer.accelerator=mps and there is none here: use trainer=cpu")
    elif accelerator == "cpu" and isinstance(devices, list):
        raise UserError(
            f"trainer.devices={devices} are numbers of GPUs: on a CPU give how many processes"
        )
    processes = processes_of(trainer)
    if processes % trainer.sequence_parallel:
        raise UserError(
            f"trainer.sequence_parallel={trainer.sequence_parallel} does not divide the {processes} process(es) of "
            "this run: use a divisor, or more devices"
        )
    if processes > 1 and trainer.strategy == "auto":
        raise UserError(
            f"trainer.strategy=auto is for one process, not {processes}: use trainer.strategy=ddp or fsdp"
        )


def check_slurm(trainer: TrainerKeys) -> None:
    """Whether a SLURM job has the tasks that the run needs; Lightning starts none itself there.

    Raises:
        UserError: other numbers of tasks or nodes, named with the option that sets them.
    """
    if not SLURMEnvironment.detect():
        return
    processes = processes_of(trainer)
    per_node = processes // trainer.num_nodes
    for variable, wanted, key in (
        ("SLURM_NTASKS", processes, f"trainer.devices={shown(trainer.devices)}"),
        ("SLURM_NNODES", trainer.num_nodes, f"trainer.num_nodes={trainer.num_nodes}"),
        ("SLURM_NTASKS_PER_NODE", per_node, f"trainer.devices={shown(trainer.devices)}"),
    ):
        # of srun or sbatch; "4(x2)" is four on each of two nodes
        found = os.environ.get(variable, "").partition("(")[0]
        if found.isdigit() and int(found) != wanted:
            raise UserError(
                f"{variable}={found} and {key} do not agree: start it with srun --nodes={trainer.num_nodes} "
                f"--ntasks-per-node={per_node}, or change trainer.devices and trainer.num_nodes"
            )
    if processes > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise UserError(
            f"SLURM_NTASKS_PER_NODE is not set: give sbatch or srun --ntasks-per-node={per_node} instead of --ntasks"
        )


def processes_of(trainer: TrainerKeys) -> int:
    """How many processes it asks for, over all nodes."""
    devices = trainer.devices
    if devices == "auto":
        on_gpus = trainer.accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available()
        devices = torch.cuda.device_count() if on_gpus else 1
    return trainer.num_nodes * (len(devices) if isinstance(devices, list) else int(devices))
