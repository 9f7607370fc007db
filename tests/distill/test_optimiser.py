"""What a training takes on CUDA and not elsewhere: fused AdamW, and gathered blocks in bfloat16."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from lvis.backbone import WanTransformer
from lvis.distill import parallel
from lvis.distill.optimiser import adamw, fuse, place_steps
from lvis.distill.parallel import block_policy, shard
from lvis.fakecuda import move_to_fake
from lvis.fakecuda.streams import recorded

SETTINGS = SimpleNamespace(betas=(0.9, 0.999), weight_decay=0.01, epsilon=1e-8)
TINY = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 2,
    "ffn_dim": 48,
    "text_dim": 8,
    "freq_dim": 16,
    "text_len": 4,
}


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))


def step(of, optimizer):
    for parameter in of.parameters():
        parameter.grad = torch.full_like(parameter, 0.1)
    optimizer.step()


def test_adamw_is_fused_on_cuda_and_nowhere_else():
    here = net()
    optimizer = adamw(here, 1e-3, SETTINGS)
    fuse(optimizer)
    assert not optimizer.param_groups[0]["fused"]
    with recorded() as recorder:
        there = net()
        optimizer = adamw(there, 1e-3, SETTINGS)
        move_to_fake(there)
        # as when a module is moved: the optimiser knows the parameters
        optimizer.param_groups[0]["params"] = list(there.parameters())
        fuse(optimizer)
        recorder.kernels.clear()
        step(there, optimizer)
        found = [k.operation for k in recorder.kernels if "adam" in k.operation]
        passes = [k.operation for k in recorder.kernels if k.operation.startswith("aten._foreach")]
    assert found == ["aten._fused_adamw_"]
    assert set(passes) <= {"aten._foreach_add_"}  # of the counters of updates


def test_a_fused_update_is_the_plain_one_and_goes_on_from_a_checkpoint():
    plain, fused = net(), net()
    optimizers = [adamw(each, 1e-2, SETTINGS) for each in (plain, fused)]
    for each, optimizer in zip((plain, fused), optimizers, strict=True):
        step(each, optimizer)
    # torch has fused AdamW for the CPU, too
    optimizers[1].param_groups[0].update(fused=True, foreach=False)
    for state in optimizers[1].state.values():
        state["step"] = state["step"].to(torch.float64)  # as loaded from somewhere else
    place_steps(optimizers[1])
    for each, optimizer in zip((plain, fused), optimizers, strict=True):
        step(each, optimizer)
    for a, b in zip(plain.parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("device", "autocast", "gathered"),
    [("cuda", True, torch.bfloat16), ("cuda", False, None), ("cpu", True, None)],
)
def test_blocks_are_gathered_in_bfloat16_under_autocast_on_cuda(device, autocast, gathered):
    policy = block_policy(device, autocast)
    assert policy.param_dtype == gathered
    assert policy.reduce_dtype == (torch.float32 if gathered else None)
    assert not (gathered and policy.cast_forward_inputs)


@pytest.fixture
def mesh(tmp_path):
    """Of this process alone."""
    meeting = f"file://{tmp_path / 'meeting'}"
    distributed.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def test_gathering_in_bfloat16_changes_no_more_than_rounding_and_keeps_float32(mesh, monkeypatch):
    torch.manual_seed(0)
    whole = WanTransformer(**TINY)
    sharded = copy.deepcopy(whole)
    monkeypatch.setattr(parallel, "block_policy", lambda *_: block_policy("cuda", True))
    shard(sharded, mesh, True)
    latents, text = torch.randn(1, 16, 3, 4, 4), torch.randn(1, 4, 8)
    outputs, gradients = [], []
    for each in (whole, sharded):
        with torch.autocast("cpu", torch.bfloat16):
            velocity = each(latents, torch.full((1,), 522.0), text, block_size=3)
        velocity.float().square().mean().backward()
        outputs.append(velocity.detach())
        found = [parallel.whole(p.grad) for p in each.parameters()]
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))
    assert all(isinstance(p, DTensor) and p.dtype == torch.float32 for p in sharded.parameters())
    assert gradients[1].dtype == torch.float32
    scale = outputs[0].abs().max()
    assert not torch.equal(*outputs)
    torch.testing.assert_close(outputs[1] / scale, outputs[0] / scale, atol=1e-2, rtol=0)
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.999
