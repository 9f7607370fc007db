"""The linear layer in float32 on a CPU with AVX-512.

torch's float32 products go to MKL, which runs AVX2 code on processors that are not Intel's. oneDNN,
which torch also ships, uses AVX-512 on all of them. The choice depends on the processor and the
tensors alone, never on a timing, so that a resumed training repeats its numbers.
"""

import math
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import register_flop_formula

# rows above which a product is worth oneDNN's packing of the weights
MANY_ROWS = 64


def linear(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`: (..., inputs), (outputs, inputs), (outputs,) -> (..., outputs), differentiable once."""
    if not on_onednn(features, weight, bias):
        return F.linear(features, weight, bias)
    if torch.is_grad_enabled() and any(
        each is not None and each.requires_grad for each in (features, weight, bias)
    ):
        return _Linear.apply(features, weight, bias)
    return pointwise(features, weight, bias)


def on_onednn(features: Tensor, *parameters: Tensor | None) -> bool:
    """Whether `linear` takes oneDNN for these tensors."""
    tensors = (features, *(each for each in parameters if each is not None))
    return (
        all(each.device.type == "cpu" and each.dtype == torch.float32 for each in tensors)
        and features.numel() >= MANY_ROWS * features.shape[-1]
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and bool(torch.backends.mkldnn.enabled)
        and _processor_profits()
    )


@cache
def _processor_profits() -> bool:
    capability = torch.backends.cpu.get_cpu_capability()
    return capability.startswith("AVX512") and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def pointwise(features: Tensor, weight: Tensor, bias: Tensor | None, after: str = "none") -> Tensor:
    """oneDNN's product, outside autograd, then `after`: none, or gelu in its exact form."""
    algorithm = "none" if after == "gelu" else ""
    return torch.ops.mkldnn._linear_pointwise(
        features, weight.contiguous(), bias, after, [], algorithm
    )


def _pointwise_flops(features: Any, weight: Any, *_: Any, **__: Any) -> int:
    """Operations of `pointwise` from its arguments' shapes."""
    return 2 * math.prod(features[:-1]) * weight[0] * weight[1]


if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
    # torch's FlopCounterMode has no formula for it
    register_flop_formula(torch.ops.mkldnn._linear_pointwise)(_pointwise_flops)


class _Linear(torch.autograd.Function):
    """oneDNN's product has no derivative in torch; the gradients are two more of them."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(features, weight)
        return pointwise(features, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        features, weight = ctx.saved_tensors
        needs_features, needs_weight, needs_bias = ctx.needs_input_grad
        grad_features = grad_weight = grad_bias = None
        if needs_features:
            grad_features = pointwise(grad, weight.t().contiguous(), None)
        rows = grad.reshape(-1, grad.shape[-1])
        if needs_weight:
            grad_weight = rows.t() @ features.reshape(-1, features.shape[-1])
        if needs_bias:
            grad_bias = rows.sum(0)
        return grad_features, grad_weight, grad_bias
