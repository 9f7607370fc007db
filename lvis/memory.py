"""The C allocator's settings for tensors on the CPU."""

import ctypes
import ctypes.util
from typing import Any

_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4


def give_back_freed_memory() -> None:
    """Give freed memory that glibc keeps back to the system; nothing where the C library is not glibc."""
    trim = _of_libc("malloc_trim")
    if trim is not None:
        trim(0)


def keep_freed_memory() -> None:
    """Let glibc keep freed tensors' memory instead of giving it back to the system.

    By default every tensor above 32 MB is mapped afresh and its pages are cleared on first touch, which at the
    tiny world's sizes costs more than the arithmetic (2 to 5 times, measured on the wan VAE's training step).
    Does nothing where the C library is not glibc.
    """
    mallopt = _of_libc("mallopt")
    if mallopt is None:
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 2**28)


def _of_libc(name: str) -> Any:
    library = ctypes.util.find_library("c")
    return getattr(ctypes.CDLL(library), name, None) if library else None
