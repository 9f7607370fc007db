"""Tensors to a device without making the host wait for it."""

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """`tensor` on `device`, as `dtype` if given.

    From the CPU to CUDA it goes by way of pinned memory, which torch keeps until the copy is done:
    a pageable copy would wait for all that is queued there.
    """
    tensor = tensor if dtype is None else tensor.to(dtype)
    if tensor.device.type == "cpu" and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
