"""The nonlinear-activation-free backbone (NAF) of LeanVAE: causal depthwise convolutions and GEGLU.

Features are channels-last, (B, t, h, w, C). Time is mixed by the convolutions only; each needs the
two frames before its input, and they are all of its state.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_weight

from lvis.kernels.convolution import depthwise
from lvis.kernels.linear import linear, on_onednn, pointwise

# the two frames (B, 2, h, w, C) before the next input of each convolution, in the order they run
Past = tuple[Tensor, ...]

MEMORY = 2

# rows of a feed-forward tile: their hidden features stay in a core's second-level cache
TILE_ROWS = 256


class CausalDepthwiseConv(nn.Module):
    """Depthwise 3 x 3 x 3 convolution that sees this frame and the two before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # holds the parameters under their official names; padding and memory are ours
        self.ds_conv = nn.Conv3d(width, width, kernel_size=3, groups=width)

    def forward(self, features: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, t, h, w, C) and the two frames before (zeros if None) -> output, last two frames."""
        weight, bias = self.ds_conv.weight, self.ds_conv.bias
        assert bias is not None
        device = features.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            features, weight, bias = features.to(dtype), weight.to(dtype), bias.to(dtype)
        if past is None:
            batch, _, *rest = features.shape
            past = features.new_zeros(batch, MEMORY, *rest)
        extended = torch.cat((past.to(features.dtype), features), dim=1)
        convolve = depthwise if features.is_cuda else _CPUConv.apply
        return convolve(extended, weight, bias), extended[:, -MEMORY:]


def _conv(extended: Tensor, weight: Tensor, bias: Tensor | None, frames: int = 0) -> Tensor:
    """Depthwise convolution of (B, t, h, w, C), zero-padded by 1 in space and `frames` in time."""
    output = F.conv3d(
        extended.permute(0, 4, 1, 2, 3),
        weight,
        bias,
        padding=(frames, 1, 1),
        groups=weight.shape[0],
    )
    return output.permute(0, 2, 3, 4, 1)


class _CPUConv(torch.autograd.Function):
    """`_conv` with a backward pass that is about ten times torch's on a CPU.

    The gradient of the input is a forward convolution with the mirrored kernel; that of the weight
    is three two-dimensional ones. This also keeps away from the backward of a bfloat16 conv3d with
    an output depth of 1, which corrupts memory on AMX machines (torch 2.13 and 2.15).
    """

    @staticmethod
    def forward(ctx, extended: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(extended, weight)
        return _conv(extended, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        extended, weight = ctx.saved_tensors
        needs_input, needs_weight, needs_bias = ctx.needs_input_grad
        grad_output = grad_output.contiguous()
        batch, depth, rows, columns, width = grad_output.shape
        grad_input = grad_weight = grad_bias = None
        if needs_input:
            grad_input = _conv(grad_output, weight.flip(2, 3, 4), None, frames=MEMORY)
        if needs_weight:
            images = (batch * depth, rows, columns, width)
            grad_images = grad_output.reshape(images).permute(0, 3, 1, 2)
            taps = [
                conv2d_weight(
                    extended[:, tap : tap + depth].reshape(images).permute(0, 3, 1, 2),
                    [width, 1, 3, 3],
                    grad_images,
                    padding=1,
                    groups=width,
                )
                for tap in range(weight.shape[2])
            ]
            grad_weight = torch.stack(taps, dim=2)
        if needs_bias:
            grad_bias = grad_output.sum((0, 1, 2, 3))
        return grad_input, grad_weight, grad_bias


class GEGLU(nn.Module):
    """The first half of the channels times the GELU of the second."""

    def forward(self, features: Tensor) -> Tensor:
        value, gate = features.chunk(2, dim=-1)
        return F.gelu(gate) * value


class FeedForward(nn.Sequential):
    """LayerNorm, linear, GEGLU, linear; the names are the official positions (3 was a dropout)."""

    def __init__(self, width: int) -> None:
        hidden = int(8 * width / 3)
        super().__init__(
            OrderedDict(
                {
                    "0": nn.LayerNorm(width),
                    "1": nn.Linear(width, 2 * hidden, bias=False),
                    "2": GEGLU(),
                    "4": nn.Linear(hidden, width, bias=False),
                }
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        """(..., width) -> the same shape."""
        modules: tuple[Any, ...] = tuple(self)
        norm, expand, gated, contract = modules
        tensors = (features, expand.weight, contract.weight, norm.weight, norm.bias)
        if not on_onednn(*tensors):
            return super().forward(features)
        if torch.is_grad_enabled() and any(each.requires_grad for each in tensors):
            return linear(gated(linear(norm(features), expand.weight)), contract.weight)
        value, gate = expand.weight.chunk(2)
        rows = features.reshape(-1, features.shape[-1])
        output = torch.empty_like(rows)
        for tile, place in zip(rows.split(TILE_ROWS), output.split(TILE_ROWS), strict=True):
            normed = norm(tile)
            hidden = pointwise(normed, gate, None, after="gelu").mul_(
                pointwise(normed, value, None)
            )
            place.copy_(pointwise(hidden, contract.weight, None))
        return output.view_as(features)


class NAF(nn.Module):
    """`layers` pairs of a causal depthwise convolution and a feed-forward network."""

    def __init__(self, width: int, layers: int, *, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.dconv_layer = nn.ModuleList(CausalDepthwiseConv(width) for _ in range(layers))
        self.ffd_layer = nn.ModuleList(FeedForward(width) for _ in range(layers))

    def forward(self, features: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        """(B, t, h, w, C) -> the same shape, and the memory of its convolutions."""
        memory = []
        for index, (mix, transform) in enumerate(
            zip(self.dconv_layer, self.ffd_layer, strict=True)
        ):
            mixed, last_frames = mix(features, None if past is None else past[index])
            memory.append(last_frames)
            if self.residual:
                features = features + mixed
                features = features + transform(features)
            else:
                features = transform(mixed)
        return features, tuple(memory)
