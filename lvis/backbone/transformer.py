"""The Wan 2.1 transformer, bidirectional and block-causal, from one set of weights."""

import inspect
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lvis.backbone.attention import Attend, BlockCausal, attend_all, attend_self, block_causal
from lvis.backbone.block import Block
from lvis.backbone.cache import KVCache
from lvis.backbone.compiled import CompiledStep
from lvis.backbone.past import Past
from lvis.backbone.rotary import rotary_phases
from lvis.backbone.sequence import SequenceParallel
from lvis.errors import UserError

# the other keys of a diffusers config, and what they say in Wan 2.1 text-to-video
FIXED = {
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "image_dim": None,
    "added_kv_proj_dim": None,
    "pos_embed_seq_len": None,
    "rope_max_seq_len": 1024,
}


class WanTransformer(nn.Module):
    """Wan 2.1's video transformer with three ways to run (docs/architecture.md, "Backbone").

    The defaults are Wan2.1-T2V-1.3B. `net` is diffusers' model and holds every parameter under
    diffusers' names.

    Args:
        text_len: tokens of a prompt; shorter texts are padded with zeros and the padding is
            attended to, as in Wan's training (512). None takes the text as long as it comes, which
            is right when the text encoder has padded it.
    """

    def __init__(
        self,
        num_attention_heads: int = 12,
        attention_head_dim: int = 128,
        num_layers: int = 30,
        ffn_dim: int = 8960,
        text_dim: int = 4096,
        text_len: int | None = None,
        freq_dim: int = 256,
        in_channels: int = 16,
        out_channels: int = 16,
        patch_size: tuple[int, int, int] = (1, 2, 2),
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.num_heads = num_attention_heads
        self.head_dim = attention_head_dim
        self.text_dim = text_dim
        self.text_len = text_len
        self.freq_dim = freq_dim
        self.in_channels = in_channels
        self.out_channels = out_channels
        assert patch_size[0] == 1, patch_size
        self.patch_size = tuple(patch_size)
        self.gradient_checkpointing = False
        self.causal_attention = "blocks"  # see `block_causal`
        self.sequence: SequenceParallel | None = None  # of the processes that share each clip
        self.compiled: CompiledStep | None = None  # what `step` runs on a full window
        dim = num_attention_heads * attention_head_dim
        net: Any = WanTransformer3DModel(
            patch_size=self.patch_size,
            num_attention_heads=num_attention_heads,
            attention_head_dim=attention_head_dim,
            in_channels=in_channels,
            out_channels=out_channels,
            text_dim=text_dim,
            freq_dim=freq_dim,
            ffn_dim=ffn_dim,
            num_layers=0,
            eps=eps,
        )
        net.blocks = nn.ModuleList(
            Block(dim, ffn_dim, num_attention_heads, cross_attn_norm=True, eps=eps)
            for _ in range(num_layers)
        )
        net.register_to_config(num_layers=num_layers)
        self.net = net

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], text_len: int | None = None
    ) -> "WanTransformer":
        """The transformer that a diffusers `WanTransformer3DModel` config describes.

        Raises:
            UserError: the config is of a variant that is not Wan 2.1 text-to-video.
        """
        known = set(inspect.signature(cls).parameters)
        for key, value in config.items():
            fixed = FIXED.get(key, value)
            if value != fixed or (key not in known | FIXED.keys() and not key.startswith("_")):
                raise UserError(
                    f"the transformer config has {key}={value}, which is not Wan 2.1 "
                    "text-to-video; use the config of Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
                )
        chosen = {key: value for key, value in config.items() if key in known}
        return cls(**{"text_len": text_len, **chosen})

    @property
    def dtype(self) -> torch.dtype:
        return self.net.proj_out.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.net.proj_out.weight.device

    def reset_parameters(self) -> None:
        """Draw the parameters as Wan does before its training; the velocity starts at zero.

        The text's way in is drawn to keep its inputs' size: Wan's 0.02 does at its width, and at a
        small one it leaves so little of the text that training never finds it.
        """
        embedder = self.net.condition_embedder
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.net.patch_embedding.weight.flatten(1))
        for linear in (embedder.time_embedder.linear_1, embedder.time_embedder.linear_2):
            nn.init.normal_(linear.weight, std=0.02)
        for linear in (embedder.text_embedder.linear_1, embedder.text_embedder.linear_2):
            nn.init.normal_(linear.weight, std=max(0.02, linear.in_features**-0.5))
        nn.init.zeros_(self.net.proj_out.weight)

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        text: Tensor,
        block_size: int | None = None,
        window: int | None = None,
        sink: int = 0,
        perturbed: Collection[int] = (),
    ) -> Tensor:
        """The flow velocity (noise - x0) of noisy latents.

        Args:
            latents: (B, 16, t, h, w); h and w even.
            timestep: float32 (B,) or (B, t) in [0, 1000].
            text: (B, L, text_dim), L <= text_len.
            block_size: latent frames per block for the block-causal pass; None is bidirectional.
            window, sink: see `BlockCausal`; only with `block_size`.
            perturbed: layers in which every token attends to itself alone; see `sample`.

        Returns:
            (B, 16, t, h, w), in the dtype of `latents`.

        Raises:
            UserError: sizes that the patches, the text or the window cannot hold.
        """
        grid = self.grid_of(latents)
        attend: Attend = attend_all
        if block_size is not None:
            pattern = BlockCausal(block_size, window, sink)
            attend = block_causal(pattern, grid[0], grid[1] * grid[2], self.causal_attention)
        attends = [
            attend_self if layer in perturbed else attend for layer in range(len(self.net.blocks))
        ]
        return self.run(latents, timestep, 0, attends, self.embed_text(text))

    def run(
        self,
        latents: Tensor,
        timestep: Tensor,
        first_frame: int,
        attends: Sequence[Attend],
        text: Tensor | Sequence[tuple[Tensor, Tensor]],
    ) -> Tensor:
        """The velocity, with the attention of each layer, and the embedded text or its keys and values."""
        grid = self.grid_of(latents)
        hidden, phases = self.enter(latents, first_frame, grid)
        embedding, modulation = self.embed_time(timestep)
        for layer, block in enumerate(self.net.blocks):
            attend = self.over_processes(attends[layer], grid)
            own_text = text if isinstance(text, Tensor) else text[layer]
            if self.gradient_checkpointing and torch.is_grad_enabled():
                hidden = checkpoint(
                    block, hidden, modulation, phases, attend, own_text, use_reentrant=False
                )
            else:
                hidden = block(hidden, modulation, phases, attend, own_text)
        return self.head(hidden, embedding, grid).to(latents.dtype)

    def roll(
        self, latents: Tensor, timestep: Tensor, text: Tensor, past: Past, keep: bool = False
    ) -> Tensor:
        """The flow velocity of one block after the blocks of `past`, with its graph.

        Args:
            latents: (B, 16, t, h, w), t <= the pattern's block_size.
            timestep: float32 (B,) or (B, t) in [0, 1000].
            text: (B, L, text_dim).
            keep: make the block part of the past; only outside autograd.

        Returns:
            (B, 16, t, h, w), in the dtype of `latents`.
        """
        # a checkpointed block runs twice, and would be kept twice
        assert not (keep and torch.is_grad_enabled())
        frames = latents.shape[2]
        attends = [past.attend(layer, frames, keep) for layer in range(len(self.net.blocks))]
        velocity = self.run(latents, timestep, past.frames, attends, self.embed_text(text))
        if keep:
            past.advance(frames)
        return velocity

    @torch.no_grad()
    def open_cache(
        self,
        batch_size: int,
        latent_size: tuple[int, int],
        text: Tensor,
        block_size: int = 3,
        window: int = 21,
        sink: int = 0,
        dtype: torch.dtype | None = None,
    ) -> KVCache:
        """Allocate everything that a stream will ever remember.

        Args:
            latent_size: (h, w) of the latents.
            text: (B, L, text_dim), or (1, L, text_dim) for all of them.
            block_size, window, sink: latent frames, see `BlockCausal`.
            dtype: of the cache; the parameters' by default.

        Raises:
            UserError: sizes that the patches, the text or the window cannot hold.
        """
        token_grid = self.token_grid(latent_size)
        pattern = BlockCausal(block_size, window, sink)
        embedded = self.embed_text(text.to(self.device)).expand(batch_size, -1, -1)
        pairs = [block.text_kv(embedded) for block in self.net.blocks]
        text_keys = torch.stack([key for key, _ in pairs])
        text_values = torch.stack([value for _, value in pairs])
        heads = self.num_heads if self.sequence is None else self.num_heads // self.sequence.size
        return KVCache(pattern, text_keys, text_values, token_grid, dtype or self.dtype, heads)

    @torch.no_grad()
    def step(
        self, latents: Tensor, timestep: Tensor, cache: KVCache, commit: bool = True
    ) -> Tensor:
        """The flow velocity of one block, given the blocks that the cache holds.

        With `commit` the block becomes part of the past; without it the next step sees the
        cache as this one did. Outside autograd: a stream is not trained through its cache.

        Args:
            latents: (B, 16, t, h, w), t <= the cache's block_size.
            timestep: float32 (B,) or (B, t) in [0, 1000].

        Returns:
            (B, 16, t, h, w), in the dtype of `latents`.

        Raises:
            UserError: a block of another size than the cache was opened for.
        """
        grid = self.grid_of(latents)
        opened = (cache.batch_size, *cache.token_grid)
        if (latents.shape[0], *grid[1:]) != opened or grid[0] > cache.pattern.block_size:
            raise UserError(
                f"a block of shape {tuple(latents.shape)} does not fit a cache of batch "
                f"{opened[0]}, {opened[1]}x{opened[2]} tokens and {cache.pattern.block_size} "
                "latent frames per block; open a cache for this size"
            )
        if self.compiled is not None and self.compiled.serves(cache, grid[0]):
            velocity = self.compiled(latents, timestep, cache)
        else:
            layers = range(len(self.net.blocks))
            attends = [partial(attend_cached, cache, layer) for layer in layers]
            texts = [(cache.text_keys[layer], cache.text_values[layer]) for layer in layers]
            velocity = self.run(latents, timestep, cache.frames, attends, texts)
        if commit:
            cache.commit(grid[0])
        return velocity

    def enter(
        self, latents: Tensor, first_frame: int, grid: tuple[int, int, int]
    ) -> tuple[Tensor, Tensor]:
        """This process's tokens (B, t, n, D), and their rotary phases."""
        phases = rotary_phases(first_frame, grid, self.head_dim, latents.device)
        if self.sequence is None:
            return self.patchify(latents), phases
        self.sequence.check(self.num_heads, grid[1] * grid[2])
        hidden = self.sequence.own(self.patchify(self.sequence.enter(latents)), 2)
        own = self.sequence.own(phases.unflatten(0, (grid[0], -1)), 1)
        return hidden.contiguous(), own.flatten(0, 1)

    def over_processes(self, attend: Attend, grid: tuple[int, int, int]) -> Attend:
        """`attend` over the tokens of all processes."""
        return attend if self.sequence is None else self.sequence.attend(attend, grid[0])

    def token_grid(self, latent_size: tuple[int, int]) -> tuple[int, int]:
        height, width = latent_size
        _, patch_height, patch_width = self.patch_size
        if height % patch_height or width % patch_width or not height or not width:
            raise UserError(
                f"latents of {height}x{width} cannot be cut into {patch_height}x{patch_width} "
                "patches; use a video whose sides are multiples of 16"
            )
        return height // patch_height, width // patch_width

    def grid_of(self, latents: Tensor) -> tuple[int, int, int]:
        if latents.ndim != 5 or latents.shape[1] != self.in_channels:
            raise UserError(
                f"latents of shape {tuple(latents.shape)} are not (B, {self.in_channels}, t, h, w);"
                " use the VAE that the transformer was trained with"
            )
        return (latents.shape[2], *self.token_grid((latents.shape[3], latents.shape[4])))

    def patchify(self, latents: Tensor) -> Tensor:
        """Latents to tokens, (B, t, tokens per frame, D)."""
        hidden = self.net.patch_embedding(latents.to(self.dtype))
        return hidden.flatten(3).permute(0, 2, 3, 1).contiguous().to(self.dtype)

    def pad_text(self, text: Tensor) -> Tensor:
        """Text (B, L, text_dim) padded with zeros to `text_len` tokens.

        Raises:
            UserError: the text is longer or of another width.
        """
        text_len = text.shape[1] if self.text_len is None else self.text_len
        if text.ndim != 3 or text.shape[2] != self.text_dim or text.shape[1] > text_len:
            raise UserError(
                f"text of shape {tuple(text.shape)} is not (B, at most {text_len}, "
                f"{self.text_dim}); use the text encoder that belongs to this transformer"
            )
        return F.pad(text, (0, 0, 0, text_len - text.shape[1]))

    def embed_text(self, text: Tensor) -> Tensor:
        embedder = self.net.condition_embedder.text_embedder
        return embedder(self.pad_text(text).to(self.dtype)).to(self.dtype)

    def embed_time(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """Float32 time embedding (B, t or 1, D) and modulation (B, t or 1, 6, D).

        The sinusoid is float64 and all else float32 whatever the parameters are: bfloat16 would
        round t = 522 to 520, and Wan computes its modulation in float32.
        """
        embedder = self.net.condition_embedder
        per_frame = timestep if timestep.ndim == 2 else timestep.unsqueeze(1)
        half = self.freq_dim // 2
        exponent = torch.arange(half, dtype=torch.float64, device=timestep.device) / half
        angle = per_frame.double().unsqueeze(-1) * 10_000.0**-exponent
        sinusoid = torch.cat((angle.cos(), angle.sin()), dim=-1).float()
        with torch.autocast(timestep.device.type, enabled=False):
            hidden = F.silu(linear_float32(embedder.time_embedder.linear_1, sinusoid))
            embedding = linear_float32(embedder.time_embedder.linear_2, hidden)
            modulation = linear_float32(embedder.time_proj, F.silu(embedding))
        return embedding, modulation.unflatten(-1, (6, -1))

    def head(self, hidden: Tensor, embedding: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Tokens to velocity, (B, 16, t, h, w)."""
        table = self.net.scale_shift_table.float().unsqueeze(1) + embedding.unsqueeze(2)
        shift, scale = table.split(1, dim=2)
        normed = (self.net.norm_out(hidden.float()) * (1 + scale) + shift).to(hidden.dtype)
        patches = self.net.proj_out(normed)
        if self.sequence is not None:
            patches = self.sequence.together(patches, 2)
        frames, rows, columns = grid
        _, patch_height, patch_width = self.patch_size
        patches = patches.view(
            -1, frames, rows, columns, patch_height, patch_width, self.out_channels
        )
        velocity = patches.permute(0, 6, 1, 2, 4, 3, 5)
        return velocity.flatten(5, 6).flatten(3, 4)


def attend_cached(cache: KVCache, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    keys, values = cache.put(layer, key, value)
    return attend_all(query.to(keys.dtype), keys, values)


def linear_float32(linear: nn.Linear, features: Tensor) -> Tensor:
    return F.linear(features, linear.weight.float(), linear.bias.float())
