"""Writing files so that a crash leaves either the old file or the new one, never half of one."""

import errno
import glob
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lvis.errors import UserError

_OF_THE_PLACE = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EACCES,
    errno.EROFS,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EPERM,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)


_STEM_BYTES = 180


@contextmanager
def replacing(target: str | Path) -> Iterator[Path]:
    """A temporary path beside `target` with the same suffix; synced and renamed to it when the block ends well.

    If the block raises, the temporary file is removed and `target` is as it was.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    target = Path(target)
    # two containers that share the folder may share their process ids too
    unique = f"{os.getpid()}-{secrets.token_hex(4)}"
    partial = target.with_name(f".{_short(target.stem)}.{unique}.partial{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, target)
    except OSError as error:
        if error.errno in _OF_THE_PLACE:
            reason = os.strerror(error.errno).lower()
            raise UserError(f"cannot write {target}: {reason}; choose another place") from error
        raise
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def check_place(path: str | Path, is_file: bool = True) -> None:
    """Whether `path` could be written, for a file or a folder, before the work that fills it.

    Raises:
        UserError: it has no name of its own, its folder refuses it, or a file would replace a folder.
    """
    target = Path(path)
    if not target.name:
        raise UserError(f"{path} is a folder that is in use; name a new folder or a file")
    try:
        place = next(folder for folder in target.absolute().parents if folder.exists())
        taken = target.is_dir()
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UserError(f"cannot write {path}: {reason}; choose another place") from error
    if not place.is_dir():
        raise UserError(f"cannot write {path}: {place} is not a folder; choose another place")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {path}: {place} is read-only; choose another place")
    if is_file and taken:
        raise UserError(f"{path} is a folder; name a file")


def check_free(path: str | Path, overwrite: bool) -> None:
    """Raises UserError when a file is there already and `overwrite` is false: nothing is replaced unasked."""
    if not overwrite and Path(path).is_file():
        raise UserError(
            f"{path} exists already; add overwrite=true to replace it, or name another output"
        )


def remove_partial(folder: str | Path, name: str | None = None) -> None:
    """Remove what processes that were killed inside `replacing` left in `folder`.

    `name` is the only target whose leftovers go, where others may be being written; None: all.
    """
    target = Path(name or "*")
    for path in Path(folder).glob(
        f".{glob.escape(_short(target.stem))}.*.partial{target.suffix}" if name else ".*.partial*"
    ):
        path.unlink(missing_ok=True)


def _short(stem: str) -> str:
    """Leaves room for what a partial file's name adds, within the 255 bytes that file systems allow."""
    return os.fsdecode(os.fsencode(stem)[:_STEM_BYTES])


def sha256_of(path: str | Path) -> str:
    """The sha256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(target: str | Path, text: str) -> None:
    """Write `text` to `target` in one step (see `replacing`)."""
    with replacing(target) as partial:
        partial.write_text(text, encoding="utf-8")
