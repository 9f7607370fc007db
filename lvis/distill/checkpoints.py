"""Checkpoints: folders that are whole or absent, and the newest of them that is undamaged.

`step_00000100/` has `shard_00000.safetensors` and one more for every further process that holds rows of its own
(FSDP2), `manifest.json`, and `SHA256SUMS`, which `sha256sum -c` reads. It is written under another name, synced and
then renamed, so that a folder of that name is complete. Safetensors and JSON carry no code.
"""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lvis.distill.parallel import gathered, own_part, own_rows
from lvis.errors import UserError
from lvis.files import sha256_of

FORMAT, VERSION = "lvis-training", 1
MANIFEST, SUMS = "manifest.json", "SHA256SUMS"
BEST = "best.json"
RUN = "run"  # of `about`: the settings that make it this run
PREFIX, PARTIAL = "step_", ".partial_"

log = logging.getLogger(__name__)


class SavingFailed(Exception):
    """A checkpoint could not be written; those before it are as they were."""


class Checkpoint:
    """A folder that `save` wrote.

    Raises:
        ValueError: it is damaged: a file is missing or another than its sum says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            sums: dict[str, str] = {}
            for line in (folder / SUMS).read_text("utf-8").splitlines():
                digest, _, name = line.partition("  ")
                sums[name] = digest
            for name, expected in sums.items():
                if Path(name).name != name:
                    raise ValueError(f"{SUMS} names {name!r}")
                if sha256_of(folder / name) != expected:
                    raise ValueError(f"{name} is not what {SUMS} says")
            self.manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
            files = [shard["file"] for shard in self.manifest["shards"]]
            if self.manifest["format"] != FORMAT or self.manifest["version"] != VERSION:
                raise ValueError(f"{MANIFEST} is of another format")
            if {*files, MANIFEST} != set(sums):
                raise ValueError(f"{SUMS} and {MANIFEST} name different files")
            self._files = [safe_open(folder / name, framework="pt") for name in files]
        except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise ValueError(str(error).splitlines()[0] or type(error).__name__) from error

    @property
    def counters(self) -> dict[str, int]:
        return self.manifest["counters"]

    @property
    def about(self) -> dict[str, Any]:
        return self.manifest["about"]

    @property
    def run(self) -> dict[str, Any] | None:
        """The settings of the run that saved it; None of versions that did not keep them."""
        found = self.about.get(RUN)
        return found if isinstance(found, dict) else None

    @cached_property
    def _where(self) -> dict[str, list[tuple[int, int, int]]]:
        """By tensor: (begin, end, file) of the rows that each file has."""
        found: dict[str, list[tuple[int, int, int]]] = {}
        for number, shard in enumerate(self.manifest["shards"]):
            for name, (begin, end) in shard["rows"].items():
                found.setdefault(name, []).append((begin, end, number))
        return found

    def names(self) -> set[str]:
        return set(self._where)

    def rows(self, name: str, begin: int, end: int) -> Tensor:
        """Rows [begin, end) of a saved tensor; a number is its one row."""
        parts = []
        for first, last, number in sorted(self._where[name]):
            saved = self._files[number].get_slice(name)
            if not saved.get_shape():
                return self._files[number].get_tensor(name)
            low, high = max(begin, first), min(end, last)
            parts.append(saved[max(low - first, 0) : max(high - first, 0)])
        return torch.cat(parts) if len(parts) != 1 else parts[0]

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor, whole."""
        return {
            name: self.rows(name, 0, max(end for _, end, _ in parts))
            for name, parts in self._where.items()
        }


def save(
    folder: Path,
    tensors: Mapping[str, Tensor],
    counters: Mapping[str, int],
    about: Mapping[str, Any],
    *,
    rank: int = 0,
    shared_out: bool = False,
    alone: bool = False,
) -> Path:
    """Write `step_<counters["step"]>`; every process must call it, unless `alone`.

    Args:
        tensors: as `TrainingState.tensors`.
        counters: with "step".
        about: plain values.
        shared_out: the processes hold different rows, and each writes its own; otherwise the first writes all.
        alone: the other processes may be gone: only the first calls it, and waits for none.

    Raises:
        SavingFailed: on every process, when one of them could not write.
    """
    target = folder / f"{PREFIX}{counters['step']:08d}"
    partial = folder / f"{PARTIAL}{target.name}"
    together = _by_itself if alone else _together
    together(lambda: _begin(folder, partial) if rank == 0 else None, target)

    def write_own() -> dict[str, Any] | None:
        if rank and not shared_out:
            return None
        return _write_shard(partial, tensors, rank)

    try:
        shards = [shard for shard in together(write_own, target) if shard is not None]
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "counters": dict(counters),
            "about": dict(about),
            "shards": [{"file": shard["file"], "rows": shard["rows"]} for shard in shards],
        }
        sums = {shard["file"]: shard["sha256"] for shard in shards}
        together(lambda: _finish(partial, target, manifest, sums) if rank == 0 else None, target)
    except SavingFailed:
        if rank == 0:
            shutil.rmtree(partial, ignore_errors=True)
        raise
    return target


def load_newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is undamaged; None when there is none to find.

    Raises:
        UserError: there are checkpoints, but all are damaged.
    """
    candidates = newest_first(folder)
    for path in candidates:
        try:
            return Checkpoint(path)
        except ValueError as error:
            log.warning("%s is damaged (%s); trying the one before it", path, error)
    if candidates:
        raise UserError(
            f"none of the checkpoints in {folder} can be read: remove the folder to start again"
        )
    return None


def newest_first(folder: Path) -> list[Path]:
    """The checkpoints in a folder, damaged ones too."""
    return sorted((path for path in folder.glob(f"{PREFIX}*") if path.is_dir()), reverse=True)


def forget_old(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints and the best."""
    best = best_of(folder)
    for path in newest_first(folder)[keep:]:
        if path.name != best:
            # one that cannot be removed does not stop the training
            shutil.rmtree(path, ignore_errors=True)


def note_best(folder: Path, name: str, score: float) -> None:
    """Keep checkpoint `name` until another is better."""
    with suppress(OSError):
        partial = folder / f"{PARTIAL}{BEST}"
        partial.write_text(json.dumps({"name": name, "score": score}) + "\n", "utf-8")
        os.replace(partial, folder / BEST)


def best_of(folder: Path) -> str | None:
    """The name of the checkpoint with the best validation so far."""
    return _best(folder).get("name")


def best_score(folder: Path) -> float:
    """Its score, -inf when there is none."""
    return float(_best(folder).get("score", "-inf"))


def _best(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / BEST).read_text("utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def _begin(folder: Path, partial: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(f"{PARTIAL}*"):  # of a run that was killed
        shutil.rmtree(stale, ignore_errors=True)
    partial.mkdir()


def _write_shard(partial: Path, tensors: Mapping[str, Tensor], rank: int) -> dict[str, Any]:
    own, rows = {}, {}
    for name, tensor in tensors.items():
        part = own_part(tensor)
        if rank and part is tensor:
            continue  # the first process writes what all have
        own[name] = part.detach().cpu().contiguous()
        rows[name] = own_rows(tensor)
    path = partial / f"shard_{rank:05d}.safetensors"
    save_file(own, path)
    _sync(path)
    return {"file": path.name, "rows": rows, "sha256": sha256_of(path)}


def _finish(
    partial: Path, target: Path, manifest: Mapping[str, Any], sums: Mapping[str, str]
) -> None:
    (partial / MANIFEST).write_text(json.dumps(manifest) + "\n", "utf-8")
    sums = {**sums, MANIFEST: sha256_of(partial / MANIFEST)}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    (partial / SUMS).write_text(lines, "utf-8")
    for name in (MANIFEST, SUMS):
        _sync(partial / name)
    _sync(partial)
    if target.exists():  # damaged, or the same step of a run that went back
        shutil.rmtree(target)
    os.replace(partial, target)
    _sync(target.parent)


def _together(work: Any, target: Path) -> list[Any]:
    """`work()` on every process; all learn what each returned, and all fail when one did."""
    return _returned(gathered(_tried(work)), target)


def _by_itself(work: Any, target: Path) -> list[Any]:
    """`_together` of this process alone."""
    return _returned([_tried(work)], target)


def _tried(work: Any) -> tuple[Any, str | None]:
    try:
        return work(), None
    except (OSError, SafetensorError) as error:
        return None, getattr(error, "strerror", None) or str(error).splitlines()[0]


def _returned(outcomes: list[tuple[Any, str | None]], target: Path) -> list[Any]:
    for _, reason in outcomes:
        if reason is not None:
            raise SavingFailed(f"cannot write {target}: {reason.lower()}")
    return [returned for returned, _ in outcomes]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
