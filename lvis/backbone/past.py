"""The blocks that a rollout has behind it, with nothing written in place, so that a block can be trained beside them.

`KVCache` is for streams: a ring that is written over. Autograd needs what it saw to stay as it was.
"""

import torch
from torch import Tensor

from lvis.backbone.attention import Attend, BlockCausal, attend_all


class Past:
    """Keys and values of each layer and block, (B, tokens, heads, head_dim), without gradient.

    Args:
        pattern: which frames a block attends to.
        layers: of the transformer.

    Attributes:
        frames: latent frames behind; the absolute position of the next block.
    """

    def __init__(self, pattern: BlockCausal, layers: int) -> None:
        self.pattern = pattern
        self.frames = 0
        self._keys: list[list[Tensor]] = [[] for _ in range(layers)]
        self._values: list[list[Tensor]] = [[] for _ in range(layers)]

    def attend(self, layer: int, num_frames: int, keep: bool) -> Attend:
        """The attention of the next block: to itself and to the past as it is now, which later blocks do not change.

        Args:
            num_frames: latent frames of the next block.
            keep: make its keys and values part of the past, once `advance` is called.
        """
        before, count = self.frames, len(self._keys[layer])
        end = before + num_frames
        oldest, sink = self.pattern.oldest(end), self.pattern.sink

        def seen(blocks: list[Tensor], own: Tensor) -> Tensor:
            every = torch.cat((*blocks[:count], own), dim=1)
            if oldest <= sink:
                return every
            size = own.shape[1] // num_frames
            return torch.cat((every[:, : sink * size], every[:, oldest * size :]), dim=1)

        def run(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            if keep:
                self._keys[layer].append(key.detach())
                self._values[layer].append(value.detach())
            return attend_all(query, seen(self._keys[layer], key), seen(self._values[layer], value))

        return run

    def advance(self, num_frames: int) -> None:
        """Let the next block come after the one that was kept."""
        self.frames += num_frames
