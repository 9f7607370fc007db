"""A training run on Weights & Biases: one per run folder, grouped with the others of its sweep and told apart."""

import os
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from lvis.errors import UserError
from lvis.files import write_text

LONGEST = 64  # characters of a tag, W&B's limit
# overrides that say where a run writes and reports, and not what it does
ABOUT_THE_PLACE = ("hydra.", "logger", "output")
ID_FILE = "wandb_id.txt"
PATIENCE = 5.0  # seconds for the server to take a connection
OFFLINE = "set logger.offline=true and send the run later with `wandb sync`"


def wandb_logger(
    tags: Iterable[str],
    overrides: Iterable[str],
    *,
    save_dir: str,
    offline: bool = False,
    **options: Any,
) -> WandbLogger:
    """The logger of conf/logger/wandb.yaml. A run that is resumed goes on under the id in its folder.

    Args:
        tags: of every run.
        overrides: `key=value` of the command line or of a sweep's job, each of which becomes a tag where W&B takes it.
        save_dir: the run folder.
        options: of Lightning's WandbLogger and of wandb.init.

    Raises:
        UserError: there is no key, or no server, and the run is to be online.
    """
    if getattr(rank_zero_only, "rank", 0):  # only the first process logs
        return WandbLogger(save_dir=save_dir, offline=offline, **options)
    if not offline and os.environ.get("WANDB_MODE", "online") == "online":
        check_online()
    options |= {"id": run_id(Path(save_dir)), "tags": run_tags(tags, overrides)}
    # W&B reads the environment once per process, perhaps before Lightning or the user set this
    mode = "offline" if offline else os.environ.get("WANDB_MODE")
    if mode:
        options["mode"] = mode
    return WandbLogger(save_dir=save_dir, offline=offline, **options)


def run_id(folder: Path) -> str:
    """The id of the run in `folder`, drawn when first asked for."""
    path = folder / ID_FILE
    if not path.is_file():
        write_text(path, secrets.token_hex(4) + "\n")
    return path.read_text(encoding="utf-8").strip()


def check_online() -> None:
    """Raises UserError, in seconds, where wandb.init would wait for minutes or ask at the keyboard."""
    import wandb

    try:
        key = wandb.login(prompt=False, verify=False)
    except (wandb.Error, ValueError) as error:
        raise UserError(f"the W&B key is not one ({error}): mend it, or {OFFLINE}") from error
    if not key:
        raise UserError(
            f"logger=wandb and there is no W&B key here: run `wandb login`, or {OFFLINE}"
        )
    place = urlsplit(str(wandb.setup().settings.base_url))
    if place.scheme in getproxies():  # the proxy reaches what we may not
        return
    address = (place.hostname or "", place.port or (443 if place.scheme == "https" else 80))
    try:
        socket.create_connection(address, PATIENCE).close()
    except OSError as error:
        raise UserError(
            f"W&B at {place.hostname} cannot be reached ({error}): check the network, or {OFFLINE}"
        ) from error


def finish_run() -> None:
    """End the run of this process, so that the next job of a sweep begins its own."""
    import wandb

    if wandb.run is not None:
        wandb.run.finish()


def run_tags(tags: Iterable[str], overrides: Iterable[str]) -> list[str]:
    """`tags` and the overrides that tell what the run does, once each."""
    told = [word.lstrip("+~") for word in overrides]
    told = [word for word in told if not word.startswith(ABOUT_THE_PLACE) and len(word) <= LONGEST]
    return list(dict.fromkeys([*tags, *told]))
