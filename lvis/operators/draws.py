"""Random draws for a batch, from one generator or from one per sample."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lvis.errors import UserError

# one per sample makes a draw independent of who else is in the batch
Draw = torch.Generator | Sequence[torch.Generator] | None


def drawn(
    draw: Draw, batch: int, sample: Callable[[int, torch.Generator | None], Tensor]
) -> Tensor:
    """`sample(batch, generator)`, or the samples that each generator draws, put together.

    Args:
        draw: a generator for the whole batch (None is torch's own), or one per sample.
        batch: B.
        sample: (count, generator) -> (count, ...).

    Raises:
        UserError: as many generators as samples were not given.
    """
    if draw is None or isinstance(draw, torch.Generator):
        return sample(batch, draw)
    if len(draw) != batch:
        raise UserError(f"{len(draw)} generators were given for a batch of {batch}: give one each")
    return torch.cat([sample(1, generator) for generator in draw])


def normal(shape: Sequence[int], draw: Draw, device: torch.device | None = None) -> Tensor:
    """Standard normal values (B, ...), drawn on the generator's device, or on `device` without one."""

    def sample(count: int, generator: torch.Generator | None) -> Tensor:
        place = device if generator is None else generator.device
        return torch.randn((count, *shape[1:]), generator=generator, device=place)

    return drawn(draw, shape[0], sample)
