"""Two processes that share a clip compute what one does: velocities, gradients, streams."""

from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing, nn

from lvis.backbone import WanTransformer
from lvis.backbone.sequence import SequenceParallel
from lvis.errors import UserError
from lvis.operators import GaussianBlur
from lvis.solvers.student import StudentSolver
from lvis.vae.lean import LeanVAE

TOLERANCE = 1e-5


def transformer(checkpointing: bool = False) -> WanTransformer:
    torch.manual_seed(0)
    net = WanTransformer(
        num_attention_heads=4, attention_head_dim=12, num_layers=2, ffn_dim=32, text_dim=8,
        text_len=4, freq_dim=16,
    )  # fmt: skip
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1)
    net.gradient_checkpointing = checkpointing
    return net


def drawn(*shape: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def passes(net: WanTransformer) -> dict[str, torch.Tensor]:
    """Velocities and gradients, bidirectional and block-causal, with frames of their own timesteps."""
    found: dict[str, torch.Tensor] = {}
    for kind, options in {
        "all": {},
        "causal": {"block_size": 2},
        "window": {"block_size": 2, "window": 3, "sink": 1},
    }.items():
        latents = drawn(2, 16, 5, 4, 6).requires_grad_()
        timestep = torch.linspace(10, 900, 10).view(2, 5)
        velocity = net(latents, timestep, drawn(2, 4, 8, seed=5), **options)
        loss = (velocity - drawn(*velocity.shape, seed=9)).square().mean()
        loss.backward()
        found[kind] = velocity.detach()
        found[f"{kind} latents"] = latents.grad
        for name, parameter in net.named_parameters():
            found[f"{kind} {name}"] = parameter.grad.clone()
        net.zero_grad(set_to_none=True)
    return found


def steps(net: WanTransformer) -> dict[str, torch.Tensor]:
    """A stream beyond its window, with a step that is not kept before each that is."""
    cache = net.open_cache(2, (4, 6), drawn(1, 4, 8), block_size=2, window=4, sink=1)
    found = {}
    for number in range(4):
        block = drawn(2, 16, 2, 4, 6, seed=number)
        timestep = torch.full((2,), 500.0)
        for commit in (False, True):
            found[f"block {number} {commit}"] = net.step(block, timestep, cache, commit)
    return found


def restored(net: WanTransformer) -> torch.Tensor:
    torch.manual_seed(2)
    vae = LeanVAE(low_width=16, high_width=16, branch_layers=1, fusion_layers=1, ista_layers=1)
    solver = StudentSolver(net, vae, lambda prompts: drawn(len(prompts), 4, 8), block_size=1)
    with solver.open(GaussianBlur(size=5, sigma=1.0), size=(32, 32)) as stream:
        blocks = stream.push(drawn(1, 3, 9, 32, 32).clamp(-1, 1)) + stream.finish()
    return torch.cat(blocks, dim=2)


def everything(net: WanTransformer) -> dict[str, torch.Tensor]:
    return {**passes(net), **steps(net), "restored": restored(net)}


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    distributed.init_process_group("gloo", meeting, rank=rank, world_size=2)
    found = {}
    for checkpointing in (False, True):
        net = transformer(checkpointing)
        net.sequence = SequenceParallel(distributed.group.WORLD)
        results = everything(net)
        # the mean over processes, as DDP takes it of parameters' gradients
        for name in [name for name in results if " net." in name]:
            distributed.all_reduce(results[name])
            results[name] /= 2
        found[checkpointing] = results
    cache = net.open_cache(2, (4, 6), drawn(1, 4, 8))
    found["heads"] = cache.keys.shape[3]
    with pytest.raises(UserError, match="15 tokens per latent frame do not divide"):
        net(drawn(1, 16, 1, 6, 10), torch.tensor([1.0]), drawn(1, 4, 8))
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_that_share_a_clip_equal_one(tmp_path):
    multiprocessing.spawn(work, (tmp_path,), nprocs=2)
    expected = everything(transformer())
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found["heads"] == 2
        for checkpointing in (False, True):
            assert found[checkpointing].keys() == expected.keys()
            for name, value in expected.items():
                torch.testing.assert_close(
                    found[checkpointing][name], value, atol=TOLERANCE, rtol=TOLERANCE, msg=name
                )
