"""The one exception that a user may see, and what the machine refuses in a sentence."""

import errno
import os

_OF_THE_PLACE = (
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
)


class UserError(Exception):
    """Something the user can mend: a missing file, a wrong size, an unknown key.

    The message is one sentence that names the thing, its value and the way out. Entry points print it without a
    traceback and exit with status 2 (`lvis.cli.config.run`).
    """


class Diverged(UserError):
    """A training whose weights are no longer worth keeping: the checkpoints before are."""


def reason_of(error: BaseException) -> str:
    """What FFmpeg or the system says, in lower case."""
    strerror = getattr(error, "strerror", None)
    return (strerror or str(error) or type(error).__name__).lower()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on the CPU or on a GPU."""
    # torch.OutOfMemoryError by name, for this module imports nothing; the CPU's allocator has none
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def of_the_machine(error: BaseException) -> str | None:
    """One sentence for a path that the system refuses or memory that is not there; None of other errors."""
    if is_out_of_memory(error):
        return (
            "out of memory; use a smaller size or fewer frames, precision=bf16 where there is one, "
            "or a larger machine"
        )
    if isinstance(error, OSError) and error.errno in _OF_THE_PLACE:
        place = error.filename2 or error.filename
        name = f" {os.fsdecode(place)}" if isinstance(place, str | bytes) else ""
        reason = os.strerror(error.errno).lower()
        return f"cannot use{name}: {reason}; check the path, its permissions and the free space"
    return None
