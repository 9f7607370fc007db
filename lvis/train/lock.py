"""One training per run folder."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from lvis.errors import UserError
from lvis.files import check_place

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other trainings out of `folder` for as long as the block lasts.

    The lock is the system's (`fcntl`), so that it ends with its process, however that ends; workers do not inherit it.
    Where a file system has none, there is none.

    Raises:
        UserError: another process has it; or the folder cannot be written.
    """
    check_place(folder, is_file=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "a+", encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise UserError(f"cannot write {folder}: {reason}; choose another hydra.run.dir") from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            raise UserError(
                f"{folder} is being trained by {_owner(file.read())}: wait until that has ended, or "
                "choose another hydra.run.dir"
            ) from error
        except OSError:  # no locks here
            yield
            return
        owner = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with suppress(OSError):  # a full disk is not the lock's to tell
            file.truncate(0)
            file.write(json.dumps(owner) + "\n")
            file.flush()
        yield


def _owner(text: str) -> str:
    try:
        found = json.loads(text)
        return f"process {found['process']} on {found['host']} since {found['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
