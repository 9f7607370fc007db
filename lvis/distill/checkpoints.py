"""Checkpoints that are whole or absent, and the newest of them that can be read."""

import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from lvis.errors import UserError
from lvis.files import replacing

DAMAGE = (
    OSError,
    RuntimeError,
    ValueError,
    EOFError,
    zipfile.BadZipFile,
    pickle.UnpicklingError,
)
KEEP = 2  # the newest, and the one before it for when the newest is damaged

log = logging.getLogger(__name__)


def save(folder: Path, state: dict[str, Any]) -> Path:
    """Write `state` as `step_<state["step"]>.ckpt` in one step, and remove all but the newest
    `KEEP`.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    target = folder / f"step_{state['step']:08d}.ckpt"
    with replacing(target) as partial:
        torch.save(state, partial)
    for old in _newest_first(folder)[KEEP:]:
        old.unlink(missing_ok=True)
    return target


def load_newest(folder: Path) -> tuple[dict[str, Any], Path] | None:
    """The newest checkpoint that is whole, and its path; None when there is none to find.

    Raises:
        UserError: there are checkpoints, but none can be read.
    """
    candidates = _newest_first(folder)
    for path in candidates:
        try:
            return _load(path), path
        except DAMAGE as error:
            log.warning("%s is damaged (%s); trying the one before it", path, _reason(error))
    if candidates:
        raise UserError(
            f"none of the checkpoints in {folder} can be read: remove the folder to start again"
        )
    return None


def _load(path: Path) -> dict[str, Any]:
    # torch.load maps what it reads and does not compare checksums
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} fails its checksum")
    return torch.load(path, map_location="cpu", weights_only=True)


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step_*.ckpt"), reverse=True)


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
