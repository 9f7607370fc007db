"""float32 on CUDA tensor cores: IEEE products, or TF32 with 10 bits of mantissa, as one setting.

torch's own defaults differ: convolutions take TF32 and matrix products do not.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def set_tf32(allowed: bool) -> None:
    """Whether matrix products and convolutions of float32 on CUDA may take TF32, process-wide."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


@contextmanager
def tf32(allowed: bool, device: torch.device) -> Iterator[None]:
    """Take TF32 within, and IEEE float32 after.

    Only the main thread does: torch's setting is process-wide, and another thread's operator must
    not lose its exactness to this one's network.
    """
    if not (allowed and device.type == "cuda" and _in_main_thread()):
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    set_tf32(True)
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
