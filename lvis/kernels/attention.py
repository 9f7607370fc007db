"""Attention in float32 on a CPU with AVX-512, outside autograd: see `lvis.kernels.linear`."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lvis.kernels.linear import on_onednn, pointwise

# the sizes at which it was faster than torch's kernel
FEWEST_KEYS = 2048
LARGEST_HEAD = 128
# queries at a time: their scores fill about 16 MB at most
TILE_QUERIES = 128


def profits(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether `attend_in_tiles` is the faster one; (B, N, heads, head_dim) each."""
    recorded = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
    large = key.shape[1] >= FEWEST_KEYS and query.shape[3] <= LARGEST_HEAD
    return large and not recorded and on_onednn(query.flatten(0, 2), key, value)


def attend_in_tiles(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Every query to every key, (B, N, heads, head_dim) in and out: softmax(q k^T / sqrt(d)) v."""
    output = torch.empty_like(query, memory_format=torch.contiguous_format)
    scale = query.shape[3] ** -0.5
    for sample in range(query.shape[0]):
        for head in range(query.shape[2]):
            keys = key[sample, :, head].contiguous()
            values = value[sample, :, head].t().contiguous()
            queries = (query[sample, :, head] * scale).split(TILE_QUERIES)
            places = output[sample, :, head].split(TILE_QUERIES)
            for tile, place in zip(queries, places, strict=True):
                weights = F.softmax(pointwise(tile, keys, None), dim=-1)
                place.copy_(pointwise(weights, values, None))
    return output
