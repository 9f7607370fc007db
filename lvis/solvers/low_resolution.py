"""z_in of super-resolution as InstantViR has it (supplement, section 1): the low-resolution video itself is encoded."""

import torch.nn.functional as F
from torch import Tensor

from lvis.errors import UserError


def check_sides(measured: tuple[int, int], x: tuple[int, int], stride: int) -> None:
    """Whether a measurement's own latents can stand for x's.

    Args:
        measured, x: (height, width) in pixels.
        stride: pixels per latent cell.

    Raises:
        UserError: the measurement is no smaller copy of x, or its sides do not fit the VAE.
    """
    smaller = measured[0] < x[0] and measured[0] * x[1] == measured[1] * x[0]
    if not smaller or any(side % stride for side in measured):
        raise UserError(
            f"x_init=latents encodes a smaller copy of x whose sides are multiples of {stride}, and a measurement of "
            f"{measured[0]}x{measured[1]} for {x[0]}x{x[1]} is none: use x_init=lift, or sides that divide"
        )


def upsampled(latents: Tensor, sides: tuple[int, int]) -> Tensor:
    """Latents (B, C, t, h, w) at other sides, bilinear in each frame."""
    frames = latents.transpose(1, 2).flatten(0, 1)
    larger = F.interpolate(frames, sides, mode="bilinear", align_corners=False)
    return larger.unflatten(0, (latents.shape[0], -1)).transpose(1, 2)
