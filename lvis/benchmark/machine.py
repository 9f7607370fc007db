"""What the numbers were measured on, and what of it could be reached."""

import platform
import time
from datetime import UTC, datetime
from statistics import median
from typing import Any

import torch

import lvis
from lvis.hardware import cuda_facts
from lvis.provenance import code_version, cores, processor


def describe(device: torch.device) -> dict[str, Any]:
    """Processor or GPU, threads, torch, commit and date."""
    return {
        "device": device.type,
        "processor": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{processor()} ({cores()} cores)",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "lvis": lvis.__version__,
        "commit": code_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **cuda_facts(device),
    }


@torch.inference_mode()
def matrix_product_rate(
    device: torch.device, dtype: torch.dtype, side: int | None = None, repeats: int = 5
) -> float:
    """Floating-point operations per second of a square matrix product: 2 side^3 over the median time.

    Args:
        side: of the matrices; large enough for the device if not given.
    """
    side = side or (8192 if device.type == "cuda" else 1536)
    left = torch.randn(side, side, device=device).to(dtype)
    right = torch.randn(side, side, device=device).to(dtype)
    seconds = []
    for _ in range(repeats + 1):
        synchronise(device)
        began = time.perf_counter()
        torch.mm(left, right)
        synchronise(device)
        seconds.append(time.perf_counter() - began)
    # the first product warms up
    return 2 * side**3 / median(seconds[1:])


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
