"""A training run on Weights & Biases: what groups it with the others of its sweep and tells it apart from them."""

from collections.abc import Iterable
from typing import Any

from lightning.pytorch.loggers import WandbLogger

LONGEST = 64  # characters of a tag, W&B's limit
# overrides that say where a run writes and reports, and not what it does
ABOUT_THE_PLACE = ("hydra.", "logger", "output")


def wandb_logger(tags: Iterable[str], overrides: Iterable[str], **options: Any) -> WandbLogger:
    """The logger of conf/logger/wandb.yaml.

    Args:
        tags: of every run.
        overrides: `key=value` of the command line or of a sweep's job, each of which becomes a tag where W&B takes it.
        options: of Lightning's WandbLogger and of wandb.init.
    """
    return WandbLogger(tags=run_tags(tags, overrides), **options)


def run_tags(tags: Iterable[str], overrides: Iterable[str]) -> list[str]:
    """`tags` and the overrides that tell what the run does, once each."""
    told = [word.lstrip("+~") for word in overrides]
    told = [word for word in told if not word.startswith(ABOUT_THE_PLACE) and len(word) <= LONGEST]
    return list(dict.fromkeys([*tags, *told]))
