"""Following motion: images pulled along a flow, what a flow cannot see, flows at other sizes.

A flow (N, 2, H, W) holds the displacement (x, y) in pixels: place p of the first image is at p + flow(p) in
the second.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Sundaram et al. 2010, Eq. 5, as Meister et al. 2018 (UnFlow) and most since take it
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 0.01, 0.5


def warp(second: Tensor, flow: Tensor) -> Tensor:
    """The second image as the first would see it: out(p) = second(p + flow(p)), bilinear; the border is continued.

    Args:
        second: (N, C, H, W).
        flow: (N, 2, H, W), from the first to the second.
    """
    height, width = second.shape[-2:]
    where = places(flow)
    scale = torch.tensor([max(width - 1, 1), max(height - 1, 1)], device=flow.device)
    grid = 2 * where / scale - 1
    return F.grid_sample(
        second, grid.to(second.dtype), mode="bilinear", padding_mode="border", align_corners=True
    )


def places(flow: Tensor) -> Tensor:
    """p + flow(p), as (N, H, W, 2) in (x, y)."""
    height, width = flow.shape[-2:]
    rows, columns = torch.meshgrid(
        torch.arange(height, device=flow.device),
        torch.arange(width, device=flow.device),
        indexing="ij",
    )
    return torch.stack((columns, rows), dim=-1) + flow.permute(0, 2, 3, 1)


def visible(forward: Tensor, backward: Tensor) -> Tensor:
    """Where the first image's places are seen in the second, bool (N, 1, H, W).

    A place is seen when it lands inside the picture and the way back from there ends near it.

    Args:
        forward: flow from the first to the second.
        backward: flow from the second to the first.
    """
    height, width = forward.shape[-2:]
    x, y = places(forward).unbind(-1)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    back = warp(backward, forward)
    error = (forward + back).square().sum(1)
    length = forward.square().sum(1) + back.square().sum(1)
    returned = error <= RELATIVE_TOLERANCE * length + ABSOLUTE_TOLERANCE
    return (inside & returned)[:, None]


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """The flow on a grid of another size, in that grid's pixels."""
    height, width = flow.shape[-2:]
    scale = torch.tensor([size[1] / width, size[0] / height], device=flow.device)
    return F.interpolate(flow, size, mode="area") * scale.view(1, 2, 1, 1)


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A bool mask (N, 1, H, W) on a coarser grid: true where most of a cell is."""
    return F.interpolate(mask.float(), size, mode="area") > 0.5
