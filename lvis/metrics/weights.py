"""The files of the networks that metrics use: found, pinned by hash, never guessed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lvis.errors import UserError
from lvis.files import sha256_of
from lvis.metrics.errors import Unmeasured
from lvis.weights import hub

SHORTEST_PIN = 8  # hexadecimal digits, as torchvision puts into its file names


def network_file(part: str, node: Mapping[str, Any]) -> Path:
    """The file of a network, its sha256 verified.

    Args:
        part: the key in `metric_weights`, for messages.
        node: `source` (a file, or hub:org/name[@revision]:file), `sha256` (in full, or its first
            digits, 8 or more), and `file`, the name under which torch's own cache would have it.

    Raises:
        Unmeasured: no source is given and torch's cache has no such file, or it cannot be had.
        UserError: a file whose sha256 is another, or a source without a pin.
    """
    source, pin = node.get("source"), str(node.get("sha256") or "").lower()
    key = f"metric_weights.{part}"
    if source is None:
        cached = Path(torch.hub.get_dir()) / "checkpoints" / str(node.get("file") or "")
        if not node.get("file") or not cached.is_file():
            raise Unmeasured(f"no weights: give {key}.source=FILE")
        source = str(cached)
    path = _find(str(source), key)
    digest = sha256_of(path)
    if len(pin) < SHORTEST_PIN:
        raise UserError(
            f"{key}.sha256={pin or 'null'} pins nothing; {path.name} has sha256 {digest}, write "
            "that if it is the file you mean"
        )
    if not digest.startswith(pin):
        raise UserError(
            f"{key}: {path} has sha256 {digest} and not {pin}; get the file again, or pin another"
        )
    return path


def _find(source: str, key: str) -> Path:
    if not source.startswith("hub:"):
        path = Path(source).expanduser()
        if not path.is_file():
            raise Unmeasured(f"no weights: {key}.source={source} is not a file")
        return path
    name, _, inside = source.removeprefix("hub:").partition(":")
    if not inside or ".." in Path(inside).parts:
        raise UserError(f"{key}.source={source}: write hub:org/name[@revision]:file")
    repo, _, revision = name.partition("@")
    try:
        return hub.fetch(repo, revision or None, [inside]) / inside
    except UserError as error:
        raise Unmeasured(str(error)) from error
