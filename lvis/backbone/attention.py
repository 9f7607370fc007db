"""Self-attention over latent frames: bidirectional, or block-causal with a window and sinks."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lvis.errors import UserError
from lvis.kernels import attention as tiled

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
CAUSAL_ATTENTION = ("blocks", "flex")


@dataclass(frozen=True)
class BlockCausal:
    """Which frames a block of latent frames attends to.

    A block attends to itself in both directions and to the past. With `window`, it attends to at
    most `window` latent frames, itself included, of which the first `sink` frames of the video
    never leave (Self-Forcing's local_attn_size and sink_size).

    Raises:
        UserError: the window cannot hold the sink and one block.
    """

    block_size: int = 3
    window: int | None = None
    sink: int = 0

    def __post_init__(self) -> None:
        if self.block_size < 1 or self.sink < 0:
            raise UserError(
                f"block_size={self.block_size} and sink={self.sink} are latent frames: "
                "use a block_size of at least 1 and a sink of at least 0"
            )
        if self.window is not None and self.window < self.sink + self.block_size:
            raise UserError(
                f"window={self.window} cannot hold sink={self.sink} and a block of "
                f"{self.block_size} latent frames; use at least {self.sink + self.block_size}"
            )

    def blocks(self, num_frames: int) -> list[tuple[int, int]]:
        """The (first, end) frames of each block; the last block may be short."""
        starts = range(0, num_frames, self.block_size)
        return [(first, min(first + self.block_size, num_frames)) for first in starts]

    def oldest(self, end: int) -> int:
        """The oldest frame beyond the sink that the block ending at `end` attends to."""
        if self.window is None:
            return 0
        return max(0, end - (self.window - self.sink))


def attend_all(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Every query to every key; (B, N, heads, head_dim) in and out."""
    if tiled.profits(query, key, value):
        return tiled.attend_in_tiles(query, key, value)
    attended = F.scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    )
    return attended.transpose(1, 2)


def attend_self(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Every token attends to itself alone: the attention map is the identity."""
    return value


def block_causal(
    pattern: BlockCausal, num_frames: int, tokens_per_frame: int, kind: str = "blocks"
) -> Attend:
    """The block-causal attention for these sizes.

    Args:
        kind: "blocks", SDPA block by block; "flex", flex_attention on CUDA (SDPA elsewhere).
    """

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        run = attend_flex if kind == "flex" and query.is_cuda else attend_blocks
        return run(query, key, value, pattern, num_frames, tokens_per_frame)

    return attend


def attend_blocks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pattern: BlockCausal,
    num_frames: int,
    tokens_per_frame: int,
) -> Tensor:
    """Block-causal SDPA, one block of queries at a time.

    What a block may see is at most two runs of keys, so slicing them replaces a dense N x N mask
    and skips the half of the scores that it would throw away.
    """
    attended = []
    for first, end in pattern.blocks(num_frames):
        oldest = pattern.oldest(end)
        own = slice(first * tokens_per_frame, end * tokens_per_frame)
        if oldest <= pattern.sink:
            seen_key, seen_value = key[:, : own.stop], value[:, : own.stop]
        else:
            sink = slice(0, pattern.sink * tokens_per_frame)
            recent = slice(oldest * tokens_per_frame, own.stop)
            seen_key = torch.cat((key[:, sink], key[:, recent]), dim=1)
            seen_value = torch.cat((value[:, sink], value[:, recent]), dim=1)
        attended.append(attend_all(query[:, own], seen_key, seen_value))
    return torch.cat(attended, dim=1)


@lru_cache(maxsize=16)
def flex_mask(pattern: BlockCausal, num_frames: int, tokens_per_frame: int, device: torch.device):
    """flex_attention's block mask, one for each shape."""
    from torch.nn.attention.flex_attention import create_block_mask

    ends = torch.empty(num_frames, dtype=torch.long, device=device)
    for first, end in pattern.blocks(num_frames):
        ends[first:end] = end
    reach = num_frames if pattern.window is None else pattern.window - pattern.sink
    sink = pattern.sink

    def allowed(batch, head, query_token, key_token):
        end = ends[query_token // tokens_per_frame]
        frame = key_token // tokens_per_frame
        return (frame < end) & ((frame >= end - reach) | (frame < sink))

    length = num_frames * tokens_per_frame
    # eager, the mask of 32,760 tokens passes through one of 10.7 GB
    compiled = torch.device(device).type == "cuda"
    return create_block_mask(allowed, None, None, length, length, device=device, _compile=compiled)


@lru_cache(maxsize=1)
def compiled_flex() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


def attend_flex(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pattern: BlockCausal,
    num_frames: int,
    tokens_per_frame: int,
    compiled: bool = True,
) -> Tensor:
    """Block-causal flex_attention; the same numbers as `attend_blocks`."""
    from torch.nn.attention.flex_attention import flex_attention

    mask = flex_mask(pattern, num_frames, tokens_per_frame, query.device)
    run: Any = compiled_flex() if compiled else flex_attention
    attended = run(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), block_mask=mask
    )
    return attended.transpose(1, 2)
