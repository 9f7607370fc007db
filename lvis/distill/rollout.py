"""A clip predicted as a stream predicts it, with gradients (Self-Forcing, Huang et al. 2025, Algorithm 1).

Each block attends to keys and values of the student's own outputs before it, from a second pass at timestep 0, so
that training sees the past that a stream will. No gradient flows through that past.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lvis.backbone import BlockCausal, WanTransformer
from lvis.backbone.past import Past

Part = tuple[int, int]  # the first latent frame of a block, and the one after its last


def roll_out(
    net: WanTransformer,
    latents: Tensor,
    timestep: Tensor,
    text: Tensor,
    pattern: BlockCausal,
    trained: int,
    show: Callable[[Tensor, Part], Tensor],
    predict: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """z_hat (B, 16, t, h, w) of z_in, block by block.

    Args:
        latents: z_in, (B, 16, t, h, w).
        timestep: (B,), of the one step.
        pattern: the blocks and the window of the stream.
        trained: the last blocks, which have a graph; those before them are past only.
        show: what the network is given of latents and their place in the clip.
        predict: (z_in, velocity) -> z_hat, of a block.
    """
    past = Past(pattern, len(net.net.blocks))
    parts = pattern.blocks(latents.shape[2])
    wanted = torch.is_grad_enabled()
    predicted: list[Tensor] = []
    for number, (first, end) in enumerate(parts):
        block = latents[:, :, first:end]
        with torch.set_grad_enabled(wanted and number >= len(parts) - trained):
            velocity = net.roll(show(block, (first, end)), timestep, text, past).float()
            predicted.append(predict(block, velocity))
        if end == latents.shape[2]:
            break
        with torch.no_grad():
            seen = show(predicted[-1].detach(), (first, end))
            net.roll(seen, torch.zeros_like(timestep), text, past, keep=True)
    return torch.cat(predicted, dim=2)
