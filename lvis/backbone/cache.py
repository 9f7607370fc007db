"""The keys and values that a stream remembers: allocated when it opens, then never moved."""

import torch
from torch import Tensor

from lvis.backbone.attention import BlockCausal


class KVCache:
    """A ring of latent frames per layer, and the text's keys and values.

    The first `sink` slots hold the first frames of the stream for ever; the others are a ring in
    which frame f lies at sink + (f - sink) % (window - sink). The order of the keys in memory is
    of no consequence, because each carries the rotary phase of its absolute frame. A new block is
    written over the frames that leave the window with it, which no later block can see, so what is
    attended to is always one contiguous run from slot 0 and a step copies nothing but its own
    block.

    Attributes:
        frames: latent frames committed so far; the absolute position of the next block.
        attended_tokens: keys that each query of the last step attended to.
        keys, values: (layers, B, window * tokens_per_frame, heads, head_dim).
        text_keys, text_values: (layers, B, text_len, heads, head_dim).
    """

    def __init__(
        self,
        pattern: BlockCausal,
        text_keys: Tensor,
        text_values: Tensor,
        token_grid: tuple[int, int],
        dtype: torch.dtype,
        heads: int | None = None,
    ) -> None:
        assert pattern.window is not None
        self.pattern = pattern
        self.capacity = pattern.window
        self.token_grid = token_grid
        self.text_keys = text_keys.to(dtype)
        self.text_values = text_values.to(dtype)
        layers, batch_size, _, every_head, head_dim = text_keys.shape
        # of a process that shares its clip with others, the cache has a part of the heads
        own = (heads or every_head, head_dim)
        shape = (layers, batch_size, self.capacity * self.tokens_per_frame, *own)
        self.keys = torch.zeros(shape, dtype=dtype, device=text_keys.device)
        self.values = torch.zeros_like(self.keys)
        self.frames = 0
        self.attended_tokens = 0

    @property
    def tokens_per_frame(self) -> int:
        return self.token_grid[0] * self.token_grid[1]

    @property
    def batch_size(self) -> int:
        return self.keys.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes held, from the opening of the stream to its end."""
        held = (self.keys, self.values, self.text_keys, self.text_values)
        return sum(tensor.numel() * tensor.element_size() for tensor in held)

    def slot(self, frame: int) -> int:
        """Where an absolute latent frame lies."""
        sink = self.pattern.sink
        return frame if frame < sink else sink + (frame - sink) % (self.capacity - sink)

    def runs(self, num_frames: int) -> list[tuple[slice, slice]]:
        """Token slices (of the next block, of the ring) that put the block in its slots."""
        runs: list[list[int]] = []
        for frame in range(num_frames):
            slot = self.slot(self.frames + frame)
            if runs and slot == runs[-1][1] + runs[-1][2]:
                runs[-1][2] += 1
            else:
                runs.append([frame, slot, 1])
        size = self.tokens_per_frame
        return [
            (
                slice(frame * size, (frame + length) * size),
                slice(slot * size, (slot + length) * size),
            )
            for frame, slot, length in runs
        ]

    def slots(self, num_frames: int) -> Tensor:
        """The token slots of the next block in the ring, int64 (num_frames * tokens_per_frame,), made
        on the device."""
        tokens = torch.arange(self.tokens_per_frame, device=self.keys.device)
        firsts = [self.slot(self.frames + each) for each in range(num_frames)]
        return torch.cat([tokens + first * self.tokens_per_frame for first in firsts])

    def put(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write the next block into its slots; returns all keys and values that it attends to."""
        num_frames = key.shape[1] // self.tokens_per_frame
        for source, target in self.runs(num_frames):
            self.keys[layer, :, target] = key[:, source]
            self.values[layer, :, target] = value[:, source]
        filled = min(self.frames + num_frames, self.capacity) * self.tokens_per_frame
        self.attended_tokens = filled
        return self.keys[layer, :, :filled], self.values[layer, :, :filled]

    def commit(self, num_frames: int) -> None:
        """Make the block that was put last part of the past."""
        self.frames += num_frames
