"""The optimisers of the pretraining recipes (Muon for hidden matrices, AdamW for the rest) and their schedule."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from lvis.pretraining.muon import Muon, is_hidden_matrix


def optimizers(
    parameters: Iterable[nn.Parameter], *, adamw_rate: float, muon_rate: float | None
) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the hidden matrices unless `muon_rate` is None."""
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    if muon_rate is None:
        return [torch.optim.AdamW(parameters, lr=adamw_rate, betas=(0.9, 0.98), weight_decay=0.0)]
    hidden = [parameter for parameter in parameters if is_hidden_matrix(parameter)]
    others = [parameter for parameter in parameters if not is_hidden_matrix(parameter)]
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
