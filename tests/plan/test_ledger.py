"""The ledger counts what a pass allocates and computes, on real tensors and on fake ones alike."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from lvis.plan.ledger import COPIES, GRADIENTS, HALF, SINGLE, Ledger, SavedTensors
from lvis.plan.networks import fake_mode, within

WIDTH, TOKENS, DEPTH = 16, 1000, 6


def net() -> nn.Sequential:
    blocks = (
        nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.Tanh(), nn.Linear(4 * WIDTH, WIDTH))
        for _ in range(DEPTH)
    )
    return nn.Sequential(*blocks)


def run(layers: nn.Sequential, checkpointing: bool) -> tuple[Ledger, float]:
    with Ledger(layers) as ledger:
        hidden = torch.zeros(TOKENS, WIDTH)
        for layer in layers:
            hidden = (
                checkpoint(layer, hidden, use_reentrant=False) if checkpointing else layer(hidden)
            )
        kept = ledger.alive
        loss = hidden.square().sum()
        with ledger.backward():
            loss.backward()
    return ledger, kept


@pytest.mark.parametrize("checkpointing", [False, True])
def test_fake_tensors_give_what_real_ones_do(checkpointing):
    real, kept = run(net(), checkpointing)
    mode = fake_mode()
    with within(mode):
        fake, expected = run(net(), checkpointing)
    assert expected == kept
    assert fake.peak == real.peak
    assert fake.operations == real.operations


def test_memory_of_recomputation_is_given_back():
    """Checkpointing lowers the peak, and nothing of the recomputed blocks outlives them."""
    stored, _ = run(net(), False)
    recomputed, _ = run(net(), True)
    assert recomputed.peak.total() < stored.peak.total()
    layer = TOKENS * WIDTH * 4
    # the inputs of all, and one block's hidden layer with its gradients
    assert recomputed.peak.total() <= (DEPTH + 16) * layer


def test_operations_are_torchs():
    layers = net()
    inputs = torch.zeros(TOKENS, WIDTH)
    with FlopCounterMode(display=False) as counter:
        layers(inputs).sum().backward()
    with Ledger(layers) as ledger:
        outputs = layers(inputs)
        with ledger.backward():
            outputs.sum().backward()
    assert ledger.operations.total() == counter.get_total_flops() > 0


def test_recomputation_is_told_from_the_backward_pass():
    layers = net()
    with Ledger(layers) as ledger:
        for layer in layers:
            ledger.attribute(layer, "layers")
        hidden = torch.zeros(TOKENS, WIDTH)
        for layer in layers:
            hidden = checkpoint(layer, hidden, use_reentrant=False)
        loss = hidden.sum()
        with ledger.backward():
            loss.backward()
    product = 2 * 2 * TOKENS * WIDTH * 4 * WIDTH
    assert ledger.operations["layers", "forward", SINGLE] == DEPTH * product
    # the last product of a block is not needed again
    assert ledger.operations["layers", "recompute", SINGLE] == DEPTH * product / 2
    # of the weights and, but for the first layer, of the inputs
    assert ledger.operations["backward", "backward", SINGLE] == (2 * DEPTH - 0.5) * product


def test_gradients_and_copies_of_weights_are_named_and_shared():
    layers = net()
    parameters = sum(p.numel() for p in layers.parameters())
    with Ledger(layers, gradient_share=0.25) as ledger:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = layers(torch.zeros(TOKENS, WIDTH))
            assert ledger.live[COPIES] == 2 * parameters
        loss = outputs.float().sum()
        with ledger.backward():
            loss.backward()
        assert ledger.live[GRADIENTS] == parameters * 4 * 0.25
    assert {precision for _, _, precision in ledger.operations} == {HALF}


def test_hooks_and_ledger_agree_on_what_a_forward_pass_keeps():
    layers = net()
    inputs = torch.zeros(TOKENS, WIDTH)
    with SavedTensors(layers) as saved:
        kept = layers(inputs)
    with Ledger(layers) as ledger:
        again = layers(inputs)
    # the hooks see the inputs, which were there before; the ledger the outputs, which nothing saves
    assert saved.bytes - inputs.nbytes == ledger.alive - again.nbytes > 0
    del kept, again
