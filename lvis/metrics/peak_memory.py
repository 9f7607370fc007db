"""How much memory a piece of work took."""

import platform
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")


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
