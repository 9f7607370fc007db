"""The optimisers of the pretraining recipes (Muon for hidden matrices, AdamW for the rest) and their schedule."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from lvis.pretrain.muon import Muon, is_hidden_matrix


def optimizers(
    parameters: Iterable[tuple[str, nn.Parameter]],
    *,
    adamw_rate: float,
    muon_rate: float | None,
    adamw_only: tuple[str, ...] = (),
) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the hidden matrices unless `muon_rate` is None.

    Args:
        parameters: with their names.
        adamw_only: parts of the names of parameters that AdamW updates whatever they are. Muon's steps have one
            size, however small the gradient: a part that is given little signal is shaken apart by it.
    """
    named = [(name, parameter) for name, parameter in parameters if parameter.requires_grad]
    if muon_rate is None:
        every = [parameter for _, parameter in named]
        return [torch.optim.AdamW(every, lr=adamw_rate, betas=(0.9, 0.98), weight_decay=0.0)]
    hidden: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in named:
        by_muon = is_hidden_matrix(parameter) and not any(part in name for part in adamw_only)
        (hidden if by_muon else others).append(parameter)
    return [
        torch.optim.AdamW(others, lr=adamw_rate, betas=(0.9, 0.98), weight_decay=0.0),
        Muon(hidden, lr=muon_rate),
    ]


def warmup_cosine(
    optimizer: torch.optim.Optimizer, steps: int, warmup_steps: int, final_fraction: float = 0.02
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then a cosine down to `final_fraction` of the rate at `steps`."""

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
        return final_fraction + (1 - final_fraction) * 0.5 * (1 + math.cos(math.pi * progress))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
