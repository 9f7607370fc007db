"""Linear layers in float8 (e4m3): weights scaled per output channel, activations per token, at each call.

On CUDA of compute capability 8.9 and later the product is torch's scaled one, in float8 tensor cores with float32 sums.
Elsewhere it is emulated by float32 products of the same rounded numbers: slow, and equal but for the order of sums.
Ours rather than torchao's, so that its error can be checked on a CPU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FP8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FP8).max  # 448
SIDES = 16  # of which both sides of a scaled product must be multiples


def rounded(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (N, K) in float8 with a scale each, float32 (N, 1): x is about their product."""
    scale = (x.abs().amax(dim=1, keepdim=True).float() / LARGEST).clamp_min(1e-12)
    return (x.float() / scale).clamp(-LARGEST, LARGEST).to(FP8), scale


class Fp8Linear(nn.Module):
    """A trained linear layer in float8, for inference; results in the input's dtype."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = rounded(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.t().contiguous())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        given, scale = rounded(rows)
        if x.is_cuda:
            out = torch._scaled_mm(
                given, self.weight.t(), scale_a=scale, scale_b=self.scale, out_dtype=torch.bfloat16
            )
        else:
            out = F.linear(given.float(), self.weight.float()) * scale * self.scale
        if self.bias is not None:
            out = out + self.bias
        return out.to(x.dtype).view(*x.shape[:-1], -1)


def quantise(net: nn.Module) -> int:
    """Replace the linear layers inside a net, in place, where float8 products can do their sizes; how many."""
    count = 0
    for module in list(net.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.Linear) and not any(n % SIDES for n in layer.weight.shape):
                setattr(module, name, Fp8Linear(layer))
                count += 1
    return count
