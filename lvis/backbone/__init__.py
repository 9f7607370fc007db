"""The Wan transformer, its KV cache, flow matching and text."""

from lvis.backbone import flow
from lvis.backbone.attention import BlockCausal
from lvis.backbone.cache import KVCache
from lvis.backbone.guidance import guided_velocity
from lvis.backbone.prompts import NEGATIVE_PROMPT, NULL_PROMPT, PromptCache
from lvis.backbone.sampling import sample
from lvis.backbone.text import TextEncoder
from lvis.backbone.tokenizer import HubTokenizer, WordTokenizer
from lvis.backbone.transformer import WanTransformer

__all__ = [
    "NEGATIVE_PROMPT",
    "NULL_PROMPT",
    "BlockCausal",
    "HubTokenizer",
    "KVCache",
    "PromptCache",
    "TextEncoder",
    "WanTransformer",
    "WordTokenizer",
    "flow",
    "guided_velocity",
    "sample",
]
