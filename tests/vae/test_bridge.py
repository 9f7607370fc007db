import pytest
import torch

from lvis.errors import UserError
from lvis.plan.ledger import Ledger
from lvis.vae import Bridge, WanVAE


def tiny_vae(seed: int) -> WanVAE:
    torch.manual_seed(seed)
    return WanVAE(base_dim=8, num_res_blocks=1).requires_grad_(False)


@pytest.fixture(scope="module")
def vaes() -> tuple[WanVAE, WanVAE]:
    return tiny_vae(0), tiny_vae(1)


def student_latents(frames: int = 5) -> torch.Tensor:
    return torch.randn(1, 16, frames, 2, 2, generator=torch.Generator().manual_seed(0))


def test_bridge_decodes_with_the_student_and_encodes_with_the_teacher(vaes):
    student_vae, teacher_vae = vaes
    video, teacher_latents = Bridge(student_vae, teacher_vae)(student_latents())
    assert torch.equal(video, student_vae.decode(student_latents()))
    assert torch.equal(teacher_latents, teacher_vae.encode(video))
    assert not torch.allclose(teacher_latents, student_vae.encode(video), atol=1e-3)


def test_video_is_not_clamped_on_the_bridge(vaes):
    student_vae, teacher_vae = tiny_vae(0), vaes[1]
    student_vae.net.decoder.conv_out.weight *= 10
    video, teacher_latents = Bridge(student_vae, teacher_vae)(student_latents())
    assert video.abs().max() > 2
    assert not torch.allclose(teacher_latents, teacher_vae.encode(video.clamp(-1, 1)), atol=1e-3)


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_checkpointing_changes_neither_values_nor_gradients(vaes, frames):
    results = []
    for checkpointing in (False, True):
        latents = student_latents(frames).requires_grad_()
        bridge = Bridge(*vaes, checkpointing=checkpointing)
        video, teacher_latents = bridge(latents)
        (teacher_latents.square().mean() + video.square().mean()).backward()
        results.append((video.detach(), teacher_latents.detach(), latents.grad))
    assert results[0][2].abs().max() > 0
    for plain, checkpointed in zip(*results, strict=True):
        scale = plain.abs().max()
        torch.testing.assert_close(checkpointed / scale, plain / scale, atol=1e-5, rtol=0)


def test_checkpointing_saves_less_for_backward(vaes):
    def saved_bytes(checkpointing: bool) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            Bridge(*vaes, checkpointing=checkpointing)(student_latents().requires_grad_())
        return sum(sizes.values())

    assert saved_bytes(True) < 0.3 * saved_bytes(False)


def test_one_vae_makes_the_bridge_the_identity(vaes):
    bridge = Bridge(vaes[0], vaes[0])
    assert bridge.is_identity
    latents = student_latents()
    video, teacher_latents = bridge(latents)
    assert teacher_latents is latents
    assert torch.equal(video, vaes[0].decode(latents))
    assert not Bridge(*vaes).is_identity


def test_bad_sizes_are_user_errors(vaes):
    with pytest.raises(UserError):
        Bridge(*vaes, checkpointing=True)(torch.zeros(1, 8, 3, 2, 2, requires_grad=True))
    with pytest.raises(UserError, match="block_size"):
        Bridge(*vaes, block_size=0)


@pytest.mark.parametrize("group", [2, 5])
def test_groups_recompute_states_and_change_no_number(group):
    """The same gradient, and fewer bytes between the passes (see lvis.plan.ledger)."""
    vae = tiny_vae(0)
    found = []
    for size in (1, group):
        bridge = Bridge(vae, vae, checkpointing=True, block_size=1, group=size)
        latents = torch.randn(1, 16, 9, 4, 4, generator=torch.Generator().manual_seed(0))
        latents.requires_grad_()
        with Ledger(vae) as ledger:
            video = bridge.to_video(latents)
            kept = ledger.alive
            video.square().sum().backward()
        assert latents.grad is not None
        found.append((video.detach(), latents.grad, kept))
    torch.testing.assert_close(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1], atol=1e-5, rtol=1e-5)
    assert found[1][2] < 0.8 * found[0][2], (found[0][2], found[1][2])
