"""Tensor files: reading those of any origin (safetensors, or pickles with tensors only), writing."""

import argparse
import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lvis.errors import UserError
from lvis.files import replacing

PICKLES = (".pt", ".pth", ".ckpt", ".bin")
SUFFIXES = (".safetensors", *PICKLES)
# a shard index is a few megabytes for the largest models; more is not an index
_JSON_LIMIT = 64 << 20


def read_file(path: Path) -> tuple[Any, dict[str, str]]:
    """The content of a weight file on the CPU, and its metadata (safetensors only, else empty).

    safetensors give a flat dict of tensors. Pickles are read with torch's weights-only unpickler,
    which runs no code, and may nest dicts; `argparse.Namespace` (LeanVAE's training arguments, a
    plain record of values) is the one class allowed on top of it.

    Raises:
        UserError: the file is missing, has another suffix, is damaged, or holds code.
    """
    if not path.is_file():
        raise UserError(f"there is no weight file {path}; check the path")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in PICKLES:
        return _read_pickle(path), {}
    raise UserError(
        f"{path} is not a weight file we read; use one that ends in {', '.join(SUFFIXES)}"
    )


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str]
) -> None:
    """Write safetensors in one step, readable by everyone.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    with replacing(path) as partial:
        try:
            save_file(dict(tensors), partial, metadata)
        except SafetensorError as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"cannot write {path} ({reason}): free some space and try again"
            ) from error
        # safetensors keeps its files to the owner, and a wheel would install them that way
        partial.chmod(0o644)


def read_shards(index: Path) -> dict[str, torch.Tensor]:
    """The tensors that a `*.safetensors.index.json` lists, each found in the shard it names and
    nowhere else.

    Raises:
        UserError: the index is malformed, a shard is missing or damaged, or a shard's tensors
            differ from the index.
    """
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(f"{index} lists no weights; download it again")
    tensors: dict[str, torch.Tensor] = {}
    for shard in sorted(set(weight_map.values())):
        # a name with a folder in it could leave the checkpoint's own folder
        if (
            not isinstance(shard, str)
            or Path(shard).name != shard
            or not shard.endswith(".safetensors")
        ):
            raise UserError(
                f"{index} names the shard {shard!r}, which is not a file beside it; download it "
                "again"
            )
        part, _ = _read_safetensors(_existing(index.with_name(shard)))
        listed = {key for key, name in weight_map.items() if name == shard}
        if listed != part.keys():
            differing = ", ".join(sorted(listed ^ part.keys())[:5])
            raise UserError(f"{shard} and {index} disagree about {differing}; download both again")
        tensors.update(part)
    return tensors


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        UserError: the file is missing, too large, or not a JSON object.
    """
    path = _existing(path)
    if path.stat().st_size > _JSON_LIMIT:
        raise UserError(f"{path} is too large for a configuration; download it again")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); download it again") from error
    if not isinstance(content, dict):
        raise UserError(
            f"{path} holds a {type(content).__name__} instead of an object; download it again"
        )
    return content


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata in a safetensors file's header.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with safe_open(_existing(path), framework="pt", device="cpu") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"there is no file {path}; the checkpoint is incomplete")
    return path


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is damaged or not safetensors ({error}); download it again")


def _read_pickle(path: Path) -> Any:
    with torch.serialization.safe_globals([argparse.Namespace]):
        try:
            try:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError as error:
                # files older than torch 1.6 are no zip archives and cannot be mapped
                if "mmap" not in str(error):
                    raise
                return torch.load(path, map_location="cpu", weights_only=True)
        except (
            pickle.UnpicklingError,
            RuntimeError,
            EOFError,
            ValueError,
            KeyError,
            OSError,
        ) as error:
            code = re.search(r"(?:GLOBAL|unrecognized function|class) (\S+)", str(error))
            if isinstance(error, pickle.UnpicklingError) and code:
                raise UserError(
                    f"refusing {path}: it holds {code[1]}, which is code rather than tensors; "
                    "convert it to safetensors where you trust it"
                ) from error
            raise UserError(
                f"{path} is damaged or not a torch checkpoint; download it again"
            ) from error
