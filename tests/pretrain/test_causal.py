"""Diffusion forcing and consistency distillation of a transformer of a few thousand parameters."""

import copy

import torch

from lvis.backbone import TextEncoder, WanTransformer, flow
from lvis.pretrain.causal import (
    BlockCausal,
    block_levels,
    consistency_loss,
    forcing_loss,
    over_noisy,
    streaming_errors,
)

SETTINGS = {"shift": 3.0, "clean_share": 0.4, "text_dropout": 0.0}


def tiny_prior() -> BlockCausal:
    torch.manual_seed(0)
    transformer = WanTransformer(2, 16, 1, 32, text_dim=64, text_len=32)
    transformer.reset_parameters()
    return BlockCausal(transformer, TextEncoder.tiny(), block_size=3)


def batch(clips: int = 2, frames: int = 6) -> dict:
    return {"latents": torch.randn(clips, 16, frames, 4, 4), "prompt": ["a red disk"] * clips}


def test_all_frames_of_a_block_have_one_level_and_a_share_is_clean():
    torch.manual_seed(0)
    sigma = block_levels(torch.rand(400, 3), 0.4, 8, 3)
    assert sigma.shape == (400, 8)
    for block in (slice(0, 3), slice(3, 6), slice(6, 8)):
        assert (sigma[:, block] == sigma[:, block][:, :1]).all()
    assert abs((sigma == 0).float().mean() - 0.4) < 0.05


def test_clean_frames_cost_nothing():
    error = torch.ones(1, 16, 4, 2, 2)
    error[:, :, 2:] = 100
    assert over_noisy(error, torch.tensor([[0.5, 0.5, 0.0, 0.0]])) == 1


def test_a_zero_velocity_costs_the_variance_of_noise_and_latents():
    loss = forcing_loss(tiny_prior(), **SETTINGS)(batch(16))["loss"]
    assert abs(loss.item() - 2) < 0.2


def test_the_clean_estimate_at_level_zero_is_the_input():
    prior = tiny_prior()
    torch.nn.init.normal_(prior.transformer.net.proj_out.weight, std=0.1)
    latents = batch()["latents"]
    text = prior.text_encoder(["", ""])
    assert torch.equal(prior.clean(latents, torch.zeros(2, 6), text), latents)


def test_only_the_transformer_is_trained():
    prior = tiny_prior()
    teacher = copy.deepcopy(prior)
    torch.nn.init.normal_(prior.transformer.net.proj_out.weight, std=0.1)
    loss = consistency_loss(prior, teacher, steps=4, **SETTINGS)(batch())["loss"]
    loss.backward()
    assert prior.transformer.net.proj_out.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in (*prior.text_encoder.parameters(), *teacher.parameters()))


def test_a_consistent_function_costs_nothing():
    """When the teacher's path is the straight line from noise to one clip, the velocity that leads to it is
    consistent everywhere; any other is not."""
    clip = torch.randn(1, 16, 6, 4, 4)

    class Straight(BlockCausal):
        def velocity(self, noisy, sigma, text):
            level = flow.level_of(sigma.clamp_min(1e-6), noisy)
            return (noisy - clip) / level * self.scale

    straight, half = (copy.deepcopy(tiny_prior()) for _ in range(2))
    for prior, scale in ((straight, 1.0), (half, 0.5)):
        prior.__class__, prior.scale = Straight, scale
    batches = {"latents": clip, "prompt": [""]}
    settings = {**SETTINGS, "clean_share": 0.0}
    assert consistency_loss(straight, straight, steps=8, **settings)(batches)["loss"] < 1e-8
    assert consistency_loss(half, straight, steps=8, **settings)(batches)["loss"] > 1e-4


def test_streaming_errors_are_relative_to_predicting_the_mean():
    """With v = 0 the clean estimate is x_sigma itself: sigma^2 (1 + 1) in units of the variance."""
    errors = streaming_errors(tiny_prior(), [batch(16)])()
    for timestep in (100, 500, 900):
        assert abs(errors[f"error_{timestep}"] / (2 * (timestep / 1000) ** 2) - 1) < 0.2
