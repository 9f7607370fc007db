"""What makes two trainings the same run: the settings that change the result, compared and in the run folder's name."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lvis.cli.config import plain
from lvis.errors import UserError

OVERRIDE = "continue_changed"
# how the work is divided, stored and shown; the result is the same up to rounding
_NO_DIFFERENCE = {
    "distill": (
        "batch_size", "batch_sizes", "accumulate", "prompt_cache", "attention", "checkpoint_activations",
        "bridge_block", "bridge_group", "latent_cache",
    ),
    "data": ("folder", "urls", "val_urls", "batch_size", "num_workers", "cache_mb", "verify", "max_bad", "min_bad",
             "latents"),
}  # fmt: skip
# of conf/model, the rest belongs to solvers
_OF_THE_MODEL = ("teacher", "teacher_vae", "text_encoder")
# in a folder's name already, or about where and how a run goes on
_IN_THE_BASE = ("task", "vae", "model", "output", OVERRIDE)
_ABOUT_THE_RUN = ("trainer", "logger", "hydra")
LONGEST_NAME = 150  # characters; file systems allow 255 bytes
MOST_SHOWN = 4


def identity(cfg: DictConfig, data: str) -> dict[str, Any]:
    """Every setting that changes what a training gives, by its key.

    Args:
        data: what decides which clips come when (`ResumableDataModule.identity`).
    """
    found: dict[str, Any] = {"seed": cfg.seed, "vae": cfg.vae.name, "data": data}
    found["task"], found["model"] = cfg.task.name, cfg.model.name
    _flatten(found, "task.operator", plain(cfg.task.operator))
    _flatten(found, "vae.module", plain(cfg.vae.module))
    for part in _OF_THE_MODEL:
        _flatten(found, f"model.{part}", plain(cfg.model[part]))
    for group, left_out in _NO_DIFFERENCE.items():
        values = plain(cfg[group]).items()
        _flatten(found, group, {key: value for key, value in values if key not in left_out})
    return found


def check_same_run(
    found: dict[str, Any] | None, wanted: dict[str, Any], output: Path, allowed: bool
) -> None:
    """Whether a checkpoint may be continued with this configuration.

    Args:
        found: `identity` in the checkpoint. Settings that only one of the two has are not compared: they came with
            another version, or with another `_target_`, which is.
        allowed: `continue_changed`.

    Raises:
        UserError: it was another run's.
    """
    if allowed:
        return
    way_out = (
        f"choose another hydra.run.dir, or go on with that run's weights by {OVERRIDE}=true, which "
        "takes the new settings from here on"
    )
    if found is None:
        raise UserError(
            f"{output} holds a run of an earlier version, which did not record its settings: {way_out}"
        )
    different = [key for key in wanted if key in found and found[key] != wanted[key]]
    if not different:
        return
    shown = "; ".join(f"{key}={found[key]}, not {wanted[key]}" for key in different[:MOST_SHOWN])
    more = len(different) - MOST_SHOWN
    shown += f"; and {more} more" if more > 0 else ""
    raise UserError(f"{output} holds a run with {shown}: {way_out}")


def run_name(base: str, overrides: Iterable[str]) -> str:
    """The name of a run's folder: `base`, and the overrides that change the result.

    Characters that no folder's name should have become -, and then, or where it is too long, the name ends in a
    digest of all it stands for.
    """
    kept = sorted({text for text in (word.lstrip("+~") for word in overrides) if _named(text)})
    exact = "_".join([base, *kept])
    name = re.sub(r"[^\w.=,+-]+", "-", re.sub(r"['\"\s]", "", exact))
    if name == exact and len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(exact.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - 9].rstrip('-')}-{digest}"


def _named(override: str) -> bool:
    key = override.partition("=")[0].partition("@")[0]
    group, _, name = key.partition(".")
    if key in _IN_THE_BASE or group.partition("/")[0] in _ABOUT_THE_RUN:
        return False
    # where the clips lie is part of the name, though not of the run
    return name in ("folder", "urls") or name not in _NO_DIFFERENCE.get(group, ())


def _flatten(found: dict[str, Any], prefix: str, values: Any) -> None:
    if not isinstance(values, dict):
        found[prefix] = values
        return
    for key, value in values.items():
        _flatten(found, f"{prefix}.{key}", value)


OmegaConf.register_new_resolver("run_name", run_name, replace=True)
