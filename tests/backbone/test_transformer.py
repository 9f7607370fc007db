import pytest
import torch
from diffusers import WanTransformer3DModel

from lvis.backbone import WanTransformer
from lvis.errors import UserError

TOLERANCE = {"rtol": 0, "atol": 1e-5}


@pytest.mark.parametrize("timestep", [980, 500, 20])
def test_the_bidirectional_pass_is_the_reference(golden, timestep):
    transformer, tensors, _ = golden("wan")
    with torch.no_grad():
        velocity = transformer(tensors["latents"], torch.tensor([float(timestep)]), tensors["text"])
    torch.testing.assert_close(velocity, tensors[f"flow.t{timestep}"], **TOLERANCE)


def test_timesteps_a_frame_are_diffusers_timesteps_a_token(transformer, draw_latents, text):
    reference = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=24,
        num_layers=2,
        ffn_dim=64,
        text_dim=12,
        freq_dim=32,
    )
    reference.load_state_dict(transformer.net.state_dict())
    latents = draw_latents(3)
    timestep = torch.tensor([[0.0, 250.0, 999.0], [522.0, 10.0, 700.5]])
    with torch.no_grad():
        velocity = transformer(latents, timestep, text)
        a_token = timestep.repeat_interleave(6, dim=1)
        (expected,) = reference(latents, a_token, text, return_dict=False)
    # diffusers' rotary embedding and sinusoid are float32
    torch.testing.assert_close(velocity, expected, rtol=0, atol=1e-4)


def test_one_timestep_is_the_same_timestep_for_every_frame(transformer, draw_latents, text):
    latents, timestep = draw_latents(3), torch.tensor([937.5, 522.0])
    with torch.no_grad():
        shared = transformer(latents, timestep, text)
        spread = transformer(latents, timestep[:, None].expand(2, 3), text)
    torch.testing.assert_close(shared, spread, **TOLERANCE)


def test_modulation_is_never_a_tensor_a_token(transformer, draw_latents, text):
    shapes = []
    block = transformer.net.blocks[0]
    block.register_forward_pre_hook(lambda module, args: shapes.append(args[1].shape))
    transformer(draw_latents(3), torch.full((2, 3), 500.0), text)
    assert shapes == [(2, 3, 6, 48)]


def test_a_block_sees_no_later_block(transformer, draw_latents, text):
    latents = draw_latents(9)
    timestep = torch.full((2, 9), 400.0)
    changed, later = latents.clone(), timestep.clone()
    changed[:, :, 6:] += 1
    later[:, 6:] = 900
    with torch.no_grad():
        before = transformer(latents, timestep, text, block_size=3)
        after = transformer(changed, later, text, block_size=3)
    assert torch.equal(before[:, :, :6], after[:, :, :6])
    assert not torch.allclose(before[:, :, 6:], after[:, :, 6:], atol=1e-2)


def test_the_first_block_is_the_bidirectional_pass_on_its_frames(transformer, draw_latents, text):
    latents, timestep = draw_latents(6), torch.tensor([700.0, 30.0])
    with torch.no_grad():
        causal = transformer(latents, timestep, text, block_size=3)
        alone = transformer(latents[:, :, :3], timestep, text)
    torch.testing.assert_close(causal[:, :, :3], alone, **TOLERANCE)


def test_padding_of_the_text_is_attended_to(make_transformer, draw_latents, text):
    padding, bare = make_transformer(text_len=16), make_transformer()
    latents, timestep = draw_latents(3), torch.tensor([700.0, 30.0])
    by_hand = torch.cat((text, torch.zeros(2, 11, 12)), dim=1)
    with torch.no_grad():
        velocity = padding(latents, timestep, text)
        expected = bare(latents, timestep, by_hand)
        unpadded = bare(latents, timestep, text)
    assert torch.equal(velocity, expected)
    assert not torch.allclose(velocity, unpadded, atol=1e-3)


@pytest.mark.parametrize("block_size", [None, 3])
def test_checkpointing_changes_no_gradient(transformer, draw_latents, text, block_size):
    gradients = []
    for checkpointing in (False, True):
        transformer.gradient_checkpointing = checkpointing
        transformer.zero_grad()
        velocity = transformer(draw_latents(6), torch.full((2,), 300.0), text, block_size)
        velocity.square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in transformer.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        assert plain.abs().max() > 0
        torch.testing.assert_close(plain, checkpointed)


def test_bfloat16_parameters_keep_the_timestep_exact(transformer):
    transformer.requires_grad_(False)
    embedding, _ = transformer.embed_time(torch.tensor([522.0, 520.0]))
    transformer.to(torch.bfloat16)
    rounded, rounded_modulation = transformer.embed_time(torch.tensor([522.0, 520.0]))
    assert rounded.dtype == rounded_modulation.dtype == torch.float32
    # in bfloat16 both timesteps would be 520
    moved, kept = rounded[0] - rounded[1], embedding[0] - embedding[1]
    torch.testing.assert_close(moved, kept, rtol=0, atol=0.05 * float(kept.abs().max()))


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_stays_near_float32(transformer, draw_latents, text, autocast):
    latents, timestep = draw_latents(6), torch.tensor([700.0, 30.0])
    with torch.no_grad():
        expected = transformer(latents, timestep, text, block_size=3)
        if not autocast:
            transformer.to(torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            velocity = transformer(latents, timestep, text, block_size=3)
    assert velocity.dtype == torch.float32
    assert (velocity - expected).abs().mean() < 0.03 * expected.abs().mean()


def test_a_diffusers_config_gives_the_same_names(transformer):
    config = dict(transformer.net.config)
    again = WanTransformer.from_config(config)
    again.net.load_state_dict(transformer.net.state_dict())
    with pytest.raises(UserError, match="image_dim=1280"):
        WanTransformer.from_config({**config, "image_dim": 1280})


def test_reset_parameters_starts_at_zero_velocity(transformer, draw_latents, text):
    transformer.reset_parameters()
    assert not transformer(draw_latents(3), torch.tensor([700.0, 30.0]), text).any()


def test_sizes_that_do_not_fit_are_named(transformer, make_transformer, draw_latents, text):
    timestep = torch.tensor([700.0, 30.0])
    with pytest.raises(UserError, match="5x6.*multiples of 16"):
        transformer(draw_latents(3, height=5), timestep, text)
    with pytest.raises(UserError, match="latents of shape"):
        transformer(draw_latents(3)[:, :4], timestep, text)
    with pytest.raises(UserError, match="text of shape"):
        make_transformer(text_len=4)(draw_latents(3), timestep, text)
    with pytest.raises(UserError, match="window=5 cannot hold"):
        transformer(draw_latents(3), timestep, text, block_size=3, window=5, sink=3)
