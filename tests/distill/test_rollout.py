"""A rollout is the stream, with gradients: of its own blocks, and of no past."""

import pytest
import torch
from test_lora import drawn

from lvis.backbone import BlockCausal
from lvis.backbone.past import Past
from lvis.distill.lora import Lora, adapted
from lvis.operators import GaussianBlur
from lvis.solvers.student import StudentSolver

LEVEL = 522.0


def latents(frames: int = 7, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, 16, frames, 4, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("window", "sink"), [(21, 0), (4, 0), (4, 1)])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_rollout_predicts_what_the_stream_does(make_losses, window, sink, checkpointing):
    options = {"rollout_window": window, "rollout_sink": sink, "block_size": 2}
    losses = make_losses(
        rollout_blocks=4, checkpoint_activations=checkpointing, timestep=LEVEL, **options
    )
    found = losses.predict(latents(), ["a prompt"])
    solver = StudentSolver(
        losses.student, losses.student_vae, losses.encode_text, timestep=LEVEL, block_size=2,
        window=window, sink=sink, context_pass=True,
    )  # fmt: skip
    with solver.open(GaussianBlur(size=5, sigma=1.0), (32, 32), prompt="a prompt") as stream:
        blocks = [stream._predict(block) for block in latents().split(2, dim=2)]
    torch.testing.assert_close(found, torch.cat(blocks, dim=2), atol=1e-5, rtol=1e-5)


def test_only_the_last_blocks_have_a_graph_and_the_past_has_none(make_losses):
    losses = make_losses(rollout_blocks=2)
    z_in = latents(9).requires_grad_()
    z_hat = losses.predict(z_in, ["a prompt"])
    assert z_hat.shape == z_in.shape
    (gradient,) = torch.autograd.grad(z_hat[:, :, 6:].sum(), z_in, retain_graph=True)
    assert gradient[:, :, :6].abs().max() == 0 and gradient[:, :, 6:].abs().min() > 0
    (gradient,) = torch.autograd.grad(z_hat.sum(), z_in)
    assert gradient[:, :, :3].abs().max() == 0 and gradient[:, :, 3:].abs().min() > 0


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_those_of_blocks_that_attend_to_a_fixed_past(make_losses, checkpointing):
    """Against the block-causal pass: with the past's keys from z_in, not from outputs, both are the same."""
    losses = make_losses(checkpoint_activations=checkpointing)
    net, text = losses.student, losses.encode_text(["a prompt"])
    z_in, timestep = latents(6), torch.tensor([LEVEL])
    whole = net(z_in, timestep, text, block_size=3)
    past = Past(BlockCausal(3, 21), len(net.net.blocks))
    with torch.no_grad():
        first = net.roll(z_in[:, :, :3], timestep, text, past, keep=True)
    second = net.roll(z_in[:, :, 3:], timestep, text, past)
    torch.testing.assert_close(torch.cat((first, second), 2), whole, atol=1e-5, rtol=1e-5)
    # what comes last has no later block through which it could act
    name = "net.proj_out.weight"
    parameter = dict(net.named_parameters())[name]
    (expected,) = torch.autograd.grad(whole[:, :, 3:].sum(), parameter)
    (found,) = torch.autograd.grad(second.sum(), parameter)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


def test_a_training_with_rollouts_moves_student_and_critic(make_module, fit):
    module = make_module(rollout_blocks=1, block_size=1, ratio=1, prior_on_masked_only=False)
    before = {k: v.clone() for k, v in module.losses.student.state_dict().items()}
    metrics = fit(module, 2)
    assert all(step["student_gradient"] > 0 and "critic" in step for step in metrics)
    after = module.losses.student.state_dict()
    assert any((after[name] - value).abs().max() > 0 for name, value in before.items())


def test_adapters_are_rolled_out_too(make_losses):
    pytest.importorskip("peft")
    losses = make_losses(rollout_blocks=1)
    losses.student = drawn(adapted(losses.teacher, Lora(rank=2)))
    losses.predict(latents(6), ["a prompt"]).sum().backward()
    trained = [p for p in losses.student.parameters() if p.requires_grad]
    assert trained and all(p.grad is not None for p in trained)
