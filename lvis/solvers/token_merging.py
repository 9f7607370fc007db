"""Token merging across frames: self-attention over all frames at once, tokens that motion connects being one.

Bolya et al. 2023 (ToMe) within an image, Li et al. 2024 (VidToMe) across frames; the pairs come from optical
flow, as in DiffIR2VR-Zero. Legend: N frames, L tokens a frame, C channels, S tokens that are kept.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn

from lvis.solvers.warping import places, resize_flow, resize_mask


@dataclass(frozen=True)
class Correspondence:
    """Where the places of N frames are in their keyframe.

    Attributes:
        key: the keyframe's number.
        flow: (N, 2, H, W), from each frame to the keyframe; see `lvis.solvers.warping`.
        seen: bool (N, 1, H, W), where that can be trusted.
    """

    key: int
    flow: Tensor
    seen: Tensor

    def tokens(self, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """On a grid of tokens: the keyframe's token of every token, long (N, L), and whether it has one."""
        rows, columns = grid
        where = places(resize_flow(self.flow, grid)).round().long()
        x, y = where[..., 0], where[..., 1]
        inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
        target = y.clamp(0, rows - 1) * columns + x.clamp(0, columns - 1)
        return target.flatten(1), (inside & resize_mask(self.seen, grid)[:, 0]).flatten(1)


class MergedTokens:
    """The tokens of N frames as one sequence in which a share of them is merged into the keyframe's.

    Args:
        tokens: (N, L, C).
        key: the keyframe's number.
        target, matched: see `Correspondence.tokens`.
        ratio: share of the other frames' tokens to merge, the most similar pairs; those without a
            match stay.

    Attributes:
        sequence: (1, S, C); the keyframe's tokens, each the mean of what was merged into it, then
            those that stayed.
    """

    def __init__(
        self, tokens: Tensor, key: int, target: Tensor, matched: Tensor, ratio: float
    ) -> None:
        self._frames, self._length, width = tokens.shape
        self._key = key
        others = [frame for frame in range(self._frames) if frame != key]
        goal, source = tokens[key], tokens[others].reshape(-1, width)
        self._others, index = others, target[others].flatten()
        alike = F.cosine_similarity(source.float(), goal[index].float(), dim=-1)
        alike = alike.masked_fill(~matched[others].flatten(), -math.inf)
        count = min(int(ratio * len(source)), int(matched[others].sum()))
        order = alike.argsort(descending=True, stable=True)
        self._merged, self._stayed = order[:count], order[count:]
        self._index = index[self._merged]
        total = goal.index_add(0, self._index, source[self._merged])
        ones = torch.ones(count, 1, dtype=goal.dtype, device=goal.device)
        number = torch.ones_like(total[:, :1]).index_add(0, self._index, ones)
        self.sequence = torch.cat((total / number, source[self._stayed]))[None]

    def spread(self, sequence: Tensor) -> Tensor:
        """Give a sequence (1, S, C') back to all tokens, (N, L, C'): merged ones get their keyframe's."""
        goal, stayed = sequence[0, : self._length], sequence[0, self._length :]
        source = goal.new_empty(len(self._others) * self._length, goal.shape[-1])
        source[self._merged] = goal[self._index]
        source[self._stayed] = stayed
        tokens = goal.new_empty(self._frames, self._length, goal.shape[-1])
        tokens[self._key] = goal
        tokens[self._others] = source.view(len(self._others), *goal.shape)
        return tokens


class MergingProcessor:
    """A diffusers attention processor: self-attention of `inner` over merged tokens.

    Args:
        inner: the processor in whose place it stands.
        ratio: see `MergedTokens`.
        pixels: the frames' (H, W), whose aspect tells the tokens' grid from their number.
    """

    def __init__(
        self, inner: Any, correspondence: Correspondence, ratio: float, pixels: tuple[int, int]
    ) -> None:
        self._inner, self._correspondence = inner, correspondence
        self._ratio, self._pixels = ratio, pixels

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *arguments: Any,
        **options: Any,
    ) -> Tensor:
        grid = token_grid(hidden_states.shape[1], self._pixels)
        target, matched = self._correspondence.tokens(grid)
        merged = MergedTokens(hidden_states, self._correspondence.key, target, matched, self._ratio)
        attended = self._inner(
            attn, merged.sequence, encoder_hidden_states, attention_mask, *arguments, **options
        )
        return merged.spread(attended)


@contextmanager
def merging(
    unet: nn.Module, correspondence: Correspondence, ratio: float, pixels: tuple[int, int]
) -> Iterator[None]:
    """For the block, `unet`'s self-attentions see the N frames of a batch together, merged.

    Args:
        unet: of diffusers; the self-attentions of its transformer blocks are meant.
        ratio, pixels: see `MergingProcessor`.
    """
    blocks = [module for module in unet.modules() if isinstance(module, BasicTransformerBlock)]
    attentions: list[Any] = [block.attn1 for block in blocks if not block.only_cross_attention]
    before = [attention.processor for attention in attentions]
    try:
        for attention, inner in zip(attentions, before, strict=True):
            attention.set_processor(MergingProcessor(inner, correspondence, ratio, pixels))
        yield
    finally:
        for attention, inner in zip(attentions, before, strict=True):
            attention.set_processor(inner)


def token_grid(length: int, pixels: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of `length` tokens that cover a frame of (H, W), each a square of pixels."""
    height, width = pixels
    side = math.sqrt(height * width / length)
    rows, columns = round(height / side), round(width / side)
    assert rows * columns == length, (length, pixels)
    return rows, columns


Ratio = Callable[[float], float]


def falling(start: float) -> Ratio:
    """The merged share over the path from 0 to 1: `start` at first, 0 at the end, along a cosine."""
    return lambda share: start * (1 + math.cos(math.pi * share)) / 2
