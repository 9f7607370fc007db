"""The Wan transformer, its KV cache, flow matching and text."""

from lvis.backbone import flow
from lvis.backbone.attention import BlockCausal
from lvis.backbone.cache import KVCache
from lvis.backbone.guidance import guided_velocity, sample
from lvis.backbone.transformer import WanTransformer

__all__ = ["BlockCausal", "KVCache", "WanTransformer", "flow", "guided_velocity", "sample"]
