"""Attention in tiles of queries gives what torch's kernel gives."""

import pytest
import torch
import torch.nn.functional as F

from lvis.backbone.attention import attend_all
from lvis.kernels import attention
from lvis.kernels.attention import FEWEST_KEYS, TILE_QUERIES, attend_in_tiles, profits
from lvis.kernels.linear import on_onednn

needs_onednn = pytest.mark.skipif(
    not on_onednn(torch.zeros(1000, 8)), reason="this processor keeps torch's own product"
)


@needs_onednn
def test_values_are_those_of_torchs_attention():
    torch.manual_seed(0)
    query = torch.randn(2, 2 * TILE_QUERIES + 7, 2, 16)
    # as a cache gives them: a run of a longer ring
    key, value = (torch.randn(2, FEWEST_KEYS + 9, 2, 16)[:, :-5] * 2 for _ in range(2))
    expected = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (query, key, value)))
    attended = attend_in_tiles(query, key, value)
    torch.testing.assert_close(attended, expected.transpose(1, 2), rtol=1e-4, atol=1e-5)


@needs_onednn
def test_it_is_taken_for_many_keys_outside_autograd_only(monkeypatch):
    query, keys = torch.randn(1, 100, 2, 16), torch.randn(1, FEWEST_KEYS, 2, 16)
    taken = []
    monkeypatch.setattr(attention, "attend_in_tiles", lambda q, k, v: taken.append(1) or q)
    attend_all(query, keys, keys)
    assert taken == [1]
    assert not profits(query, keys[:, 1:], keys[:, 1:])
    assert not profits(query.bfloat16(), keys.bfloat16(), keys.bfloat16())
    attended = attend_all(query.requires_grad_(), keys, keys)
    assert taken == [1]
    assert attended.requires_grad
