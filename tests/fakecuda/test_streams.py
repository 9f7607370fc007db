"""Streams on a fake CUDA device: one device, one attention dtype, memory that stays, and no host in the way."""

import pytest
import torch
from hydra.utils import instantiate

from lvis.benchmark.command import realised
from lvis.cli.config import compose
from lvis.fakecuda.streams import fake_solver, recorded, run_blocks

SIZE = (64, 64)
STUDENT = ["solver=student", "consistency=prox"]
QUEUED = {("h2d queued", "kernels/transfer.py")}
CASES = {
    "student lean": [*STUDENT, "vae=lean", "task=inpaint"],
    "student wan": [*STUDENT, "vae=wan", "task=deblur"],
    "papers' student": ["solver=student", "vae=lean", "task=sr4", "consistency=none"],
    "student temporal": [*STUDENT, "vae=lean", "task=temporal_average"],
    "student spatiotemporal": [*STUDENT, "vae=lean", "task=spatiotemporal_average"],
    "student estimate": [*STUDENT, "vae=lean", "solver.x_init=estimate", "solver.x_hat=residual"],
    "avis": ["solver=avis", "vae=wan", "task=inpaint", "consistency=prox"],
    "avis sr4": ["solver=avis", "vae=wan", "task=sr4", "consistency=none"],
    "avis flash": ["solver=avis_flash", "vae=wan", "task=inpaint", "consistency=prox"],
}


def run(overrides, size=SIZE, blocks=3, model="tiny"):
    """The record of a stream and what each of its blocks held."""
    cfg = compose("benchmark", [f"model={model}", "device=cuda", *overrides])
    with recorded() as recorder:
        solver = fake_solver(cfg)
        operator = realised(instantiate(cfg.task.operator), size, 0)
        return recorder, run_blocks(recorder, solver, operator, size, blocks)


def steady(recorder, kinds):
    """(kind, file) of the events of blocks 2 and on."""
    return {
        (event.kind, event.site.split(":")[0])
        for event in recorder.events
        if event.kind in kinds and event.phase[:5] == "block" and int(event.phase[5]) >= 2
    }


def check(recorder, blocks):
    assert [e for e in recorder.events if e.kind == "mixed"] == []
    assert len({block.live for block in blocks[1:]}) == 1, [block.live for block in blocks]
    attention = {
        event.detail
        for event in recorder.events
        if event.kind == "attention" and event.phase.endswith("transformer")
    }
    assert attention == {"torch.bfloat16 mask=False"}
    # noise and gains, which are computed on the host, are queued
    assert steady(recorder, ("sync", "h2d", "d2h")) == set()
    assert steady(recorder, ("h2d queued",)) <= QUEUED


@pytest.mark.parametrize("case", CASES)
def test_a_stream_on_a_gpu(case):
    check(*run(CASES[case]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "most"),
    [("student lean", 11), ("student wan", 25), ("avis", 27), ("avis flash", 26)],
)
def test_a_stream_of_full_size(case, most):
    recorder, blocks = run(CASES[case], (480, 832), 9, "wan1_3b")
    check(recorder, blocks)
    assert max(block.peak for block in blocks[2:]) < most * 2**30
    # the first blocks also time convolutions in the form that needs more memory
    assert max(block.peak for block in blocks) < (most + 3) * 2**30


def test_a_mixed_device_and_a_sync_are_seen():
    with recorded() as recorder:
        x = torch.zeros(4, 4, device="cuda")
        assert x.sum().item() == 1.0  # what a recorder says every number is
        x[torch.tensor([0, 2])]
        x + torch.zeros(())
        with pytest.raises(RuntimeError, match="device"):
            x + torch.zeros(4, 4)
        torch.zeros(2).to("cuda")
        x.cpu()
    kinds = [event.kind for event in recorder.events]
    assert {"sync", "h2d", "d2h", "scalar", "mixed"} <= set(kinds)
    assert recorder.peak >= 2 * 512


def test_an_operation_launches_what_it_does_on_a_gpu_not_what_a_compiler_makes_of_it():
    with recorded() as recorder, torch.inference_mode():
        x = torch.zeros(1, 4, 8, 8, device="cuda", dtype=torch.bfloat16)
        torch.nn.functional.interpolate(x, scale_factor=2, mode="nearest-exact")
    kernel = recorder.kernels[-1]
    assert (len(recorder.kernels), kernel.dtype) == (2, "bfloat16")
    assert kernel.nbytes == 2 * x.numel() * (1 + 4)
