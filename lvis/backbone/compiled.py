"""A stream's step as one compiled graph, for every block that finds its window full."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from lvis.backbone.attention import attend_all
from lvis.backbone.cache import KVCache
from lvis.backbone.rotary import rotary_phases


class CompiledStep:
    """`WanTransformer.step` against a full window, by torch.compile.

    The cache's memory, the block's slots in it and its rotary phases are inputs of one shape, so no
    block is compiled anew, and CUDA graphs (mode "reduce-overhead") can replay it. The blocks that
    fill the window, and a last block that is short, are not its business.

    Args:
        transformer: a `WanTransformer`.
        mode, backend: of torch.compile.
    """

    def __init__(self, transformer: Any, mode: str, backend: str = "inductor") -> None:
        self._transformer = transformer
        self._run = torch.compile(
            self._at, mode=mode, backend=backend, fullgraph=True, dynamic=False
        )

    def serves(self, cache: KVCache, num_frames: int) -> bool:
        """Whether the next block, of this many latent frames, is whole and fills the window or finds it full."""
        whole = num_frames == cache.pattern.block_size
        alone = self._transformer.sequence is None
        return whole and alone and cache.frames + num_frames >= cache.capacity

    def __call__(self, latents: Tensor, timestep: Tensor, cache: KVCache) -> Tensor:
        """The velocity (B, 16, t, h, w); the block is in its slots, not committed."""
        grid = self._transformer.grid_of(latents)
        phases = rotary_phases(cache.frames, grid, self._transformer.head_dim, latents.device)
        held = (cache.keys, cache.values, cache.text_keys, cache.text_values)
        for tensor in held:
            # else CUDA graphs would copy the cache, or refuse what changes it
            torch._dynamo.mark_static_address(tensor)
        real = torch.view_as_real(phases).contiguous()
        velocity = self._run(latents, timestep, real, cache.slots(grid[0]), *held)
        cache.attended_tokens = cache.keys.shape[2]
        return velocity

    def _at(
        self,
        latents: Tensor,
        timestep: Tensor,
        phases: Tensor,
        slots: Tensor,
        keys: Tensor,
        values: Tensor,
        text_keys: Tensor,
        text_values: Tensor,
    ) -> Tensor:
        def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys[layer].index_copy_(1, slots, key.to(keys.dtype))
            values[layer].index_copy_(1, slots, value.to(values.dtype))
            return attend_all(query.to(keys.dtype), keys[layer], values[layer])

        transformer = self._transformer
        hidden = transformer.patchify(latents)
        embedding, modulation = transformer.embed_time(timestep)
        for layer, block in enumerate(transformer.net.blocks):
            text = (text_keys[layer], text_values[layer])
            hidden = block(hidden, modulation, phases, partial(attend, layer), text)
        velocity = transformer.head(hidden, embedding, transformer.grid_of(latents))
        return velocity.to(latents.dtype)
