"""oneDNN's linear layer and the tiled feed-forward: torch's values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lvis.kernels import linear as kernels
from lvis.kernels.linear import linear, on_onednn
from lvis.vae import LeanVAE
from lvis.vae.naf import TILE_ROWS, FeedForward

needs_onednn = pytest.mark.skipif(
    not on_onednn(torch.zeros(1000, 8)), reason="this processor keeps torch's own product"
)


@needs_onednn
@pytest.mark.parametrize("shape", [(300, 40), (2, 3, 70, 40)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_values_and_gradients_are_those_of_torchs_linear(shape, with_bias):
    torch.manual_seed(0)
    inputs = [torch.randn(shape), torch.randn(24, 40)]
    if with_bias:
        inputs.append(torch.randn(24))
    gradient = torch.randn(*shape[:-1], 24)
    results = []
    for run in (linear, F.linear):
        leaves = [each.clone().requires_grad_() for each in inputs]
        output = run(*leaves)
        output.backward(gradient)
        results.append((output.detach(), *(leaf.grad for leaf in leaves)))
    for ours, torchs in zip(*results, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-5, atol=2e-5)
    assert results[0][0].shape == (*shape[:-1], 24)


@needs_onednn
@pytest.mark.parametrize("rows", [TILE_ROWS - 1, TILE_ROWS, 2 * TILE_ROWS + 5])
def test_the_tiled_feed_forward_is_the_sequence_of_its_layers(rows):
    torch.manual_seed(0)
    layers = FeedForward(24)
    features = torch.randn(rows, 24)
    expected = nn.Sequential.forward(layers, features)
    with torch.no_grad():
        torch.testing.assert_close(layers(features), expected, rtol=1e-5, atol=1e-6)


@needs_onednn
def test_the_vae_gives_the_same_with_either_product(monkeypatch):
    torch.manual_seed(0)
    vae = LeanVAE(low_width=16, high_width=32)
    video = torch.rand(1, 3, 9, 64, 64) * 2 - 1
    results = []
    for profits in (True, False):
        monkeypatch.setattr(kernels, "_processor_profits", lambda profits=profits: profits)
        vae.zero_grad()
        with torch.no_grad():
            streamed = vae.decode(vae.encode(video))
        reconstruction, latents = vae(video)
        reconstruction.square().mean().backward()
        gradients = [each.grad for each in vae.parameters() if each.grad is not None]
        results.append((streamed, latents.detach(), reconstruction.detach(), *gradients))
    assert len(results[0]) == len(results[1]) > 20
    for ours, torchs in zip(*results, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=1e-5)


@needs_onednn
def test_its_operations_are_counted():
    features, weight = torch.randn(2, 100, 8), torch.randn(5, 8)
    with FlopCounterMode(display=False) as counter:
        linear(features, weight)
    assert counter.get_total_flops() == 2 * 200 * 8 * 5


def test_other_arithmetic_keeps_torchs_product():
    features = torch.zeros(1000, 8)
    assert not on_onednn(features.bfloat16())
    assert not on_onednn(features.to("meta"))
    assert not on_onednn(features[:10])
    with torch.autocast("cpu", torch.bfloat16):
        assert not on_onednn(features)
        assert linear(features, torch.zeros(4, 8)).dtype == torch.bfloat16
