"""The GPUs that a plan may be made for, and how long operations take on them."""

from collections import Counter
from dataclasses import dataclass

from lvis.errors import UserError
from lvis.plan.ledger import CONVOLUTION, HALF, SINGLE

GB = 10**9
# what a card sold with these many GB is asked to hold. Cards report more (an A100 of 80 GB has
# 85.9e9 bytes); the difference is left for the CUDA context, NCCL and fragments.
MEMORY_CLASSES = (40 * GB, 80 * GB, 141 * GB)


@dataclass(frozen=True)
class GPU:
    """Peak dense rates in operations per second, memory in bytes, and its bandwidth in bytes per
    second, as in NVIDIA's data sheets.

    bf16: tensor cores with float32 accumulation; tf32: float32 convolutions (torch's default);
    fp32: float32 matrix products, which torch keeps off the tensor cores by default.
    """

    name: str
    bf16: float
    tf32: float
    fp32: float
    memory: int
    bandwidth: float

    def seconds(self, operations: Counter[tuple[str, str, str]], mfu: float) -> float:
        """Time of operations by (stage, kind, precision) at the share `mfu` of the peak rates."""
        rates = {HALF: self.bf16, CONVOLUTION: self.tf32, SINGLE: self.fp32}
        return sum(count / rates[key[2]] for key, count in operations.items()) / mfu


GPUS = {
    "a100": GPU("A100 SXM 80 GB", 312e12, 156e12, 19.5e12, 80 * GB, 2.039e12),
    "h100": GPU("H100 SXM 80 GB", 989.4e12, 494.7e12, 66.9e12, 80 * GB, 3.35e12),
    "h200": GPU("H200 SXM 141 GB", 989.4e12, 494.7e12, 66.9e12, 141 * GB, 4.8e12),
    "rtx4090": GPU("GeForce RTX 4090", 165.2e12, 82.6e12, 82.6e12, 24 * GB, 1.008e12),
}


def gpu_of(name: str) -> GPU:
    """The GPU of a `gpu=` key.

    Raises:
        UserError: it is not known.
    """
    if name not in GPUS:
        raise UserError(f"gpu={name} is not known: use one of {', '.join(GPUS)}")
    return GPUS[name]
