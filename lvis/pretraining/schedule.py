"""The optimiser that every pretraining recipe uses: AdamW, linear warm-up, cosine decay."""

import math
from collections.abc import Iterable

import torch
from torch import nn


def adamw_cosine(
    parameters: Iterable[nn.Parameter],
    *,
    learning_rate: float,
    steps: int,
    warmup_steps: int = 100,
    weight_decay: float = 0.01,
    final_fraction: float = 0.02,
) -> dict:
    """Lightning's `configure_optimizers` answer; the rate falls to `final_fraction` of its peak at `steps`."""
    optimizer = torch.optim.AdamW(
        parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay
    )

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
        return final_fraction + (1 - final_fraction) * 0.5 * (1 + math.cos(math.pi * progress))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
