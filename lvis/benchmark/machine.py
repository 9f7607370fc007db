"""What the numbers were measured on, and what of it could be reached."""

import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import torch

import lvis
from lvis.hardware import cuda_facts
from lvis.provenance import code_version, cores, processor

_STATUS = Path("/proc/self/status")


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


class PeakMemory:
    """Bytes at the peak since it was made: CUDA's allocated, on a CPU the growth of the resident set."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._before = 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            # Linux: the peak of the resident set starts again from here
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            pass
        self._before = resident("VmRSS")

    @property
    def peak(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return max(0, resident("VmHWM") - self._before)

    @property
    def now(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.memory_allocated(self.device)
        return max(0, resident("VmRSS") - self._before)


def resident(field: str) -> int:
    """Bytes of VmRSS (now) or VmHWM (peak) of this process; the lifetime's peak outside Linux."""
    try:
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    scale = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
