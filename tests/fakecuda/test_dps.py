"""DPS on a fake CUDA device: the memory of its backward pass does not grow with the clip."""

import pytest
import torch

from lvis.backbone.pixel_prior import PixelPrior
from lvis.fakecuda.machine import move_to_fake
from lvis.fakecuda.streams import recorded
from lvis.operators import GaussianBlur
from lvis.solvers.dps import DPSSolver
from lvis.weights.load import parameters_on_meta

SMALL = {
    "sample_size": 32,
    "block_out_channels": [32, 64],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
}
# of ADM's unconditional ImageNet model of 256 x 256
ADM = {
    "sample_size": 256,
    "block_out_channels": [256, 256, 512, 512, 1024, 1024],
    "layers_per_block": 2,
    "attention_head_dim": 64,
    "down_block_types": ["DownBlock2D"] * 3 + ["AttnDownBlock2D"] * 3,
    "up_block_types": ["AttnUpBlock2D"] * 3 + ["UpBlock2D"] * 3,
}


# the timestep as a tensor, the blur's matrix, the weights of patches, and the clock at the end of the clip
ALLOWED = {
    ("attention", "backbone/pixel_prior.py"),
    ("h2d queued", "kernels/transfer.py"),
    ("h2d", "backbone/pixel_prior.py"),
    ("h2d", "operators/axes.py"),
    ("h2d", "solvers/tiling.py"),
    ("sync", "solvers/base.py"),
}


def peak(config, size, frames, batch_size):
    """Bytes at the worst moment of one step, beyond the weights; what waits or is mixed."""
    with recorded() as recorder:
        recorder.engine_on_cpu = True
        with parameters_on_meta():
            prior = PixelPrior.from_config(config).requires_grad_(False)
        move_to_fake(prior)
        solver = DPSSolver(prior, steps=1, batch_size=batch_size, device="cuda")
        weights = recorder.live
        stream = solver.open(GaussianBlur(size=9, sigma=1.0), size=size)
        with stream:
            stream.push(torch.zeros(1, 3, frames, *size, device="cuda"))
            stream.finish()
        found = {(event.kind, event.site.split(":")[0]) for event in recorder.events}
        assert found <= ALLOWED, found - ALLOWED
        return recorder.peak - weights


def test_the_graph_in_memory_is_that_of_a_batch():
    few, more = (peak(SMALL, (32, 32), frames, 1) for frames in (2, 8))
    assert peak(SMALL, (32, 32), 8, 8) > 3 * more
    # what grows is the clip itself and the network's answers, not its activations
    assert more < 1.5 * few


@pytest.mark.slow
def test_the_graph_of_full_size():
    assert peak(ADM, (480, 832), 3, 2) < 10 * 2**30
