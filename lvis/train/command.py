"""`python -m lvis.train task=inpaint vae=lean`: distil a one-step streaming student (InstantViR).

Run again with the same arguments, it resumes.
"""

import logging
import traceback
import warnings
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningDataModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from omegaconf import DictConfig, OmegaConf

from lvis.cli.build import build
from lvis.cli.config import entry, plain
from lvis.cli.progress import console
from lvis.distill import checkpoints
from lvis.distill.build import build_losses, settings_from
from lvis.distill.callbacks import PromptsFirst, Reporting, SpikeGuard, Stopping
from lvis.distill.feeding import Feed
from lvis.distill.latent_cache import latent_cache, prepared_latents
from lvis.distill.module import Distillation
from lvis.distill.observing import Observing
from lvis.distill.parallel import build_strategy
from lvis.distill.plan import plan_table
from lvis.distill.preemption import heeding_signals
from lvis.distill.records import Journal
from lvis.distill.saving import Checkpointing
from lvis.distill.settings import Settings
from lvis.distill.validation import Validation
from lvis.errors import UserError, of_the_machine
from lvis.files import write_text
from lvis.train.identity import check_same_run, identity
from lvis.train.lock import locked
from lvis.train.settings import TrainerKeys, check, processes_of


def train(cfg: DictConfig) -> tuple[dict[str, float], dict[str, Any]]:
    """Distil a student.

    Args:
        cfg: `conf/train.yaml`, composed.

    Returns:
        The last validation's metrics with the step counters, and the objects: module, trainer,
        output, and exit_code (not 0 when a signal ended the run before `trainer.max_steps`).

    Raises:
        UserError: a value out of its range, missing weights, or an output folder that belongs to
            another run.
    """
    check(cfg)
    settings = settings_from(cfg)
    if cfg.trainer.threads:
        torch.set_num_threads(cfg.trainer.threads)
    output = Path(cfg.output)
    datamodule = open_data(cfg)
    about, run = describe(cfg, settings, datamodule.identity), identity(cfg, datamodule.identity)
    cache = latent_cache(cfg, datamodule.identity)
    folder = output / "checkpoints"
    max_steps = cfg.trainer.max_steps
    quieten_lightning()
    with heeding_signals() as preemption:
        journal = Journal(output / "metrics.jsonl")
        reporting = Reporting(journal, max_steps, cfg.trainer.log_every)
        validation = Validation(
            journal,
            output / "validation",
            cfg.trainer.validate_every,
            cfg.trainer.validation_clips,
            max_steps,
        )
        saving = Checkpointing(
            folder,
            output / "student",
            cfg.trainer.save_every,
            cfg.trainer.keep,
            about,
            run,
            validation,
        )
        callbacks: list[Callback] = [reporting, validation, saving]
        callbacks += [Stopping(max_steps, preemption), PromptsFirst(), Observing()]
        if cfg.trainer.spike_factor is not None:
            callbacks.insert(
                1, SpikeGuard(folder, cfg.trainer.spike_factor, cfg.trainer.most_spikes)
            )
        trainer = build_trainer(cfg, callbacks)
        with locked(output) if trainer.is_global_zero else nullcontext(), closing(journal):
            module, resumed = open_module(cfg, settings, run, output)
            module.latent_cache = cache
            if cfg.data.get("latents", False):
                latents, of_clips = prepared_latents(cfg, datamodule, module.losses.student_vae)
                if of_clips:
                    module.clip_latents, datamodule.with_video = latents, False
                else:
                    module.latent_cache = latents
            module.sharing = datamodule.sharing = cfg.trainer.sequence_parallel
            processes = trainer.world_size // module.sharing
            if not module.samples:  # of a version that counted steps only
                module.samples = module.step * cfg.distill.batch_size * processes
            datamodule.set_position(module.samples)
            if trainer.is_global_zero:
                journal.begin(module.step, trainer.loggers)
                for logger in trainer.loggers:
                    logger.log_hyperparams(hyperparameters(cfg))
                console.print(plan_table(cfg, module, processes, resumed))
            if module.step < max_steps:
                try:
                    fit(trainer, module, datamodule, output)
                finally:
                    reporting.close()
        if module.lost is not None and preemption.signal is None:
            raise UserError(f"{module.lost}; {_saved(module)}")
    stopped = module.step < max_steps
    if trainer.is_global_zero:
        console.print(_last_line(module, max_steps, output), highlight=False, soft_wrap=True)
    metrics = {
        **validation.latest,
        "step": module.step,
        "student_step": module.student_step,
        "critic_step": module.critic_step,
    }
    objects = {
        "module": module,
        "trainer": trainer,
        "output": output,
        "exit_code": preemption.exit_code if stopped else 0,
    }
    return metrics, objects


def open_module(
    cfg: DictConfig, settings: Settings, run: dict[str, Any], output: Path
) -> tuple[Distillation, Path | None]:
    """The module, and the checkpoint in `output` that it continues.

    Raises:
        UserError: the folder belongs to another run, weights are missing, or no checkpoint is readable.
    """
    found = checkpoints.load_newest(output / "checkpoints")
    if found is not None:
        check_same_run(found.run, run, output, cfg.continue_changed)
    module = Distillation(build_losses(cfg, settings))
    if found is None:
        return module, None
    module.resume(found, later=cfg.trainer.strategy == "fsdp")
    return module, found.folder


def build_trainer(cfg: DictConfig, callbacks: list[Callback]) -> Trainer:
    """Lightning's Trainer as `conf/trainer` says; steps, validation and checkpoints are our callbacks'."""
    return Trainer(
        accelerator=cfg.trainer.accelerator,
        devices=cfg.trainer.devices,
        num_nodes=cfg.trainer.num_nodes,
        strategy=build_strategy(
            cfg.trainer.strategy, processes_of(TrainerKeys.model_validate(plain(cfg.trainer)))
        ),
        max_epochs=-1,
        logger=build_logger(cfg),
        callbacks=callbacks,
        plugins=[SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else None,
        use_distributed_sampler=False,
        limit_val_batches=0,  # validation goes by our own step counter
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def fit(
    trainer: Trainer, module: Distillation, datamodule: LightningDataModule, output: Path
) -> None:
    """Train until a callback stops it; `module.lost` says why where the clips have failed.

    Raises:
        UserError: whatever else ended it, in a sentence; `Checkpointing` has saved before.
    """
    try:
        trainer.fit(module, datamodule=Feed(datamodule))
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and lost_a_process(error):
            reason = "another process of this run has ended"
        elif (sentence := of_the_machine(error)) is not None:
            reason = sentence
        else:
            name = "traceback" + (f"_{trainer.global_rank}" if trainer.global_rank else "")
            write_text(output / f"{name}.txt", traceback.format_exc())
            told = " ".join(str(error).split())[:200]
            reason = f"training failed ({type(error).__name__}: {told}; see {output / name}.txt)"
        raise UserError(f"{reason}; {_saved(module)}") from error


def _saved(module: Distillation) -> str:
    return (
        f"that was after step {module.step}: run the same command again to continue from the "
        "newest checkpoint"
    )


def describe(cfg: DictConfig, settings: Settings, data: str) -> dict[str, Any]:
    """What the student's lvis.json says of it."""
    return {
        "task": cfg.task.name,
        "vae": cfg.vae.name,
        "model": cfg.model.name,
        "timestep": settings.timestep,
        "parametrization": settings.parametrization,
        "input": settings.x_init,
        "output": settings.x_hat,
        "block_size": settings.block_size,
        "context_pass": settings.rollout_blocks > 0,
        "operator": plain(cfg.task.operator),
        "data": data,
    }


def open_data(cfg: DictConfig) -> Any:
    """The DataModule that `data` names.

    Raises:
        UserError: it does not say where its clips are.
    """
    for key, what in (("folder", "SHARDS, which python -m lvis.prepare wrote"), ("urls", "SHARDS")):
        if OmegaConf.is_missing(cfg.data, key):
            raise UserError(f"this training reads real clips: add data.{key}={what}")
    return build(cfg.data)


def lost_a_process(error: RuntimeError) -> bool:
    """Whether a collective failed because a process at its other end is gone."""
    signs = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "timed out")
    return isinstance(error, torch.distributed.DistBackendError) or any(
        sign in str(error) for sign in signs
    )


def build_logger(cfg: DictConfig) -> Logger | bool:
    """The logger of `conf/logger`, or none."""
    return build(cfg.logger) if cfg.logger.get("_target_") else False


def hyperparameters(cfg: DictConfig) -> dict[str, Any]:
    """The configuration by which a logger's runs are compared; the logger's own part is none of it."""
    return plain(OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "logger"]))


def quieten_lightning() -> None:
    """Silence what Lightning says of choices that are ours on purpose."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (
        "You passed in a `val_dataloader` but have no `validation_step`",
        r"Found \d+ module\(s\) in eval mode",
        "The 'train_dataloader' does not have many workers",
        r"`isinstance\(treespec, LeafSpec\)` is deprecated",
        "Your `IterableDataset` has `__len__` defined",
        "This DataLoader will create",
    ):
        warnings.filterwarnings("ignore", message=message)


def _last_line(module: Distillation, max_steps: int, output: Path) -> str:
    if module.step < max_steps:
        return (
            f"stopped at step {module.step} of {max_steps}; run the same command again to continue"
        )
    student = output / "student"
    if not (student / "lvis.json").is_file():
        return (
            f"trained {module.step} steps, none of them now, and {student} is not there: raise "
            "trainer.max_steps to train on and have it written"
        )
    return f"trained {module.step} steps; the student is in {student}"


def run(cfg: DictConfig) -> None:
    """`train`, with the exit status of a run that a signal ended."""
    _, objects = train(cfg)
    if objects["exit_code"]:
        raise SystemExit(objects["exit_code"])


main = entry("train")(run)
