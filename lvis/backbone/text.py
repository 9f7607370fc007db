"""The UMT5 text encoder of Wan."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lvis.backbone.tokenizer import Tokenizer, WordTokenizer, padded

UMT5_XXL = {
    "vocab_size": 256384,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "relative_attention_num_buckets": 32,
}
TINY = {
    "vocab_size": 1024,
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 128,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 32,
}


class TextEncoder(nn.Module):
    """UMT5's encoder behind a tokenizer; `net` is transformers' `UMT5EncoderModel`.

    Args:
        tokenizer: prompts to ids.
        text_len: tokens of an encoded prompt; longer prompts are cut, shorter ones padded.
        config: `UMT5Config` values; the defaults are UMT5-XXL (5.7 billion parameters).
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        text_len: int = 512,
        config: Mapping[str, Any] = UMT5_XXL,
    ) -> None:
        from transformers import UMT5Config, UMT5EncoderModel

        super().__init__()
        self.tokenizer = tokenizer
        self.text_len = text_len
        values = {"dropout_rate": 0.0, "feed_forward_proj": "gated-gelu", **config}
        self.net = UMT5EncoderModel(UMT5Config(**values))

    @classmethod
    def tiny(cls, text_len: int = 32) -> "TextEncoder":
        """Two layers of width 64 on hashed words, untrained: the tiny world's encoder."""
        return cls(WordTokenizer(TINY["vocab_size"]), text_len, TINY)

    @property
    def text_dim(self) -> int:
        return self.net.config.d_model

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings (B, text_len, text_dim), zero behind the end of each prompt."""
        device = self.net.shared.weight.device
        ids, mask = padded(self.tokenizer(prompts, self.text_len), device)
        hidden = self.net(input_ids=ids, attention_mask=mask).last_hidden_state
        hidden = hidden.masked_fill(mask.unsqueeze(-1) == 0, 0)
        return F.pad(hidden, (0, 0, 0, self.text_len - hidden.shape[1]))

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """The same as calling the module."""
        return self(prompts)
