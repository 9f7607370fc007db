"""One transformer block: diffusers' parameters, our forward pass."""

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import Tensor, nn

from lvis.backbone.attention import Attend, attend_all
from lvis.backbone.rotary import rotate


class Block(WanTransformerBlock):
    """diffusers' block with modulation a frame and an attention that the caller chooses.

    The parameters and their names are diffusers'; the forward pass is ours, because diffusers'
    would materialise the modulation of every token and knows no cache.
    """

    def text_kv(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the embedded text, (B, L, heads, head_dim) each."""
        key = rms_norm(self.attn2.norm_k, self.attn2.to_k(text))
        key = key.unflatten(-1, (self.attn2.heads, -1))
        value = self.attn2.to_v(text).unflatten(-1, (self.attn2.heads, -1))
        return key.to(value.dtype), value

    def forward(  # type: ignore[override]
        self,
        hidden: Tensor,
        modulation: Tensor,
        phases: Tensor,
        attend: Attend,
        text: Tensor | tuple[Tensor, Tensor],
    ) -> Tensor:
        """
        Args:
            hidden: (B, t, tokens per frame, D).
            modulation: float32 (B, t, 6, D), or (B, 1, 6, D) when all frames share a timestep.
            phases: rotary phases of the tokens, complex (N, 1, head_dim / 2).
            attend: self-attention over (B, N, heads, head_dim).
            text: embedded text (B, L, D), or its keys and values.
        """
        dtype = hidden.dtype
        table = self.scale_shift_table.float().unsqueeze(1) + modulation
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = table.split(1, dim=2)

        normed = torch.addcmul(shift, self.norm1(hidden.float()), 1 + scale).to(dtype)
        attended = self.self_attention(normed.flatten(1, 2), phases, attend)
        hidden = torch.addcmul(hidden.float(), attended.view_as(hidden).float(), gate).to(dtype)

        normed = self.norm2(hidden.float()).to(dtype).flatten(1, 2)
        text_key, text_value = text if isinstance(text, tuple) else self.text_kv(text)
        query = rms_norm(self.attn2.norm_q, self.attn2.to_q(normed))
        query = query.unflatten(-1, (self.attn2.heads, -1)).to(text_value.dtype)
        attended = attend_all(query, text_key, text_value).flatten(2)
        hidden = hidden + self.project(self.attn2, attended, dtype).view_as(hidden)

        normed = torch.addcmul(ffn_shift, self.norm3(hidden.float()), 1 + ffn_scale).to(dtype)
        return torch.addcmul(hidden.float(), self.ffn(normed).float(), ffn_gate).to(dtype)

    def self_attention(self, normed: Tensor, phases: Tensor, attend: Attend) -> Tensor:
        heads = (self.attn1.heads, -1)
        value = self.attn1.to_v(normed).unflatten(-1, heads)
        query = rms_norm(self.attn1.norm_q, self.attn1.to_q(normed)).unflatten(-1, heads)
        key = rms_norm(self.attn1.norm_k, self.attn1.to_k(normed)).unflatten(-1, heads)
        query = rotate(query, phases).to(value.dtype)
        key = rotate(key, phases).to(value.dtype)
        return self.project(self.attn1, attend(query, key, value).flatten(2), normed.dtype)

    @staticmethod
    def project(attention: Any, attended: Tensor, dtype: torch.dtype) -> Tensor:
        return attention.to_out[0](attended.to(dtype))


def rms_norm(norm: nn.RMSNorm, features: Tensor) -> Tensor:
    """The norm in float32, whatever the parameters and the autocast are; float32 out."""
    return F.rms_norm(features.float(), norm.normalized_shape, norm.weight.float(), norm.eps)
