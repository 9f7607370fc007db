"""AdamW of one net; on CUDA all of it in a few kernels."""

import torch
from torch import nn

from lvis.distill.lora import trained
from lvis.distill.settings import Settings


def adamw(net: nn.Module, learning_rate: float, settings: Settings) -> torch.optim.AdamW:
    """AdamW of what is trained of a net."""
    return torch.optim.AdamW(
        [parameter for _, parameter in trained(net)],
        lr=learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        eps=settings.epsilon,
    )


def fuse(optimizer: torch.optim.Optimizer) -> None:
    """Where its parameters lie on CUDA, let each update be one fused kernel per few hundred tensors.

    torch's default there is a chain of passes with temporaries of the parameters' size. The optimiser is made before
    the nets are moved, hence not as an argument of its constructor.
    """
    for group in optimizer.param_groups:
        if all(parameter.is_cuda for parameter in group["params"]):
            group["fused"], group["foreach"] = True, False
    place_steps(optimizer)


def place_steps(optimizer: torch.optim.Optimizer) -> None:
    """Counters of updates beside their parameters for fused groups, which read them there."""
    for group in optimizer.param_groups:
        for parameter in group["params"] if group.get("fused") else ():
            state = optimizer.state.get(parameter, {})
            if "step" in state:
                state["step"] = torch.as_tensor(state["step"], dtype=torch.float32).to(
                    parameter.device
                )
