"""What a path stands for today: digests of files and folders, so that no row outlives what it was made with."""

import hashlib
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from lvis.files import sha256_of
from lvis.weights.resolve import BUNDLED

DIGITS = 12
# of file systems' clocks, at most: a second change within one would leave no trace in a file's times
TICK_SECONDS = 2.0
# text that is never a path, and a cache that grows while it is used
_NO_PATHS = ("_target_", "name", "task", "vae_name", "prompt", "negative_prompt", "prompt_cache")


def content_digest(path: str | Path) -> str:
    """The first 12 digits of a sha256 of a file's content, or of a folder's files with their names in it.

    Raises:
        OSError: it cannot be read.
    """
    place = Path(path)
    if not place.is_dir():
        return _of_file(place)[:DIGITS]
    lines = (f"{_of_file(file)} {file.relative_to(place).as_posix()}\n" for file in _inside(place))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:DIGITS]


def contents(settings: Any, key: str = "") -> dict[str, str]:
    """Every path in plain settings that exists now, by its key, with its `content_digest`."""
    if isinstance(settings, dict):
        items = [(f"{key}.{name}", value) for name, value in settings.items()]
    elif isinstance(settings, list | tuple):
        items = [(f"{key}.{place}", value) for place, value in enumerate(settings)]
    elif isinstance(settings, str) and key.rpartition(".")[2] not in _NO_PATHS:
        found = _existing(settings)
        return {} if found is None else {key.lstrip("."): content_digest(found)}
    else:
        return {}
    return {name: digest for one, value in items for name, digest in contents(value, one).items()}


def _existing(text: str) -> Path | None:
    path = BUNDLED / text[8:] if text.startswith("bundled:") else Path(text).expanduser()
    try:
        return path if text and path.exists() else None
    except OSError:  # too long for a path
        return None


def _inside(folder: Path) -> Iterator[Path]:
    return iter(sorted(path for path in folder.rglob("*") if path.is_file()))


def _of_file(path: Path) -> str:
    found = path.stat()
    if time.time() - found.st_ctime < TICK_SECONDS:
        return sha256_of(path)
    return _read(
        str(path.resolve()), (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    )


@lru_cache(maxsize=65536)
def _read(path: str, version: tuple[int, ...]) -> str:
    # the version is only for the cache: the same file is read once in a sweep
    return sha256_of(path)
