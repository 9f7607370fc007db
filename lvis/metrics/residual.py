"""How far a restored video is from its measurement."""

import torch
from torch import Tensor

from lvis.metrics.errors import Unmeasured


@torch.no_grad()
def residual_rms(measured: Tensor, measurement: Tensor) -> float:
    """|y - A x| / sqrt(number of values): the root mean square over the whole measurement.

    A mask's missing places are zero on both sides and count; noise of standard deviation s leaves
    s for the clean video itself.

    Args:
        measured: A x of the restored video, (B, C, T, H_y, W_y); metrics know no operator.
        measurement: y, of the same shape, in units of x's [-1, 1].

    Raises:
        Unmeasured: shapes that differ, which an operator on latents gives.
    """
    if measured.shape != measurement.shape:
        raise Unmeasured("the measurement is not of A x's shape")
    return (measured.double() - measurement.double()).square().mean().sqrt().item()
