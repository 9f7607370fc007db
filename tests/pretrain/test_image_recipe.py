"""Pretraining of the latent image prior: statistics folded into the VAE, crops, and the path of the parts."""

import torch

from lvis.backbone.image_prior import ImagePrior
from lvis.pretrain.image_prior import (
    drawn_from,
    encoded_frames,
    latent_noise_errors,
    random_crops,
    standardise,
)

UNET = {
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [1, 2],
    "cross_attention_dim": 8,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 32,
}
VAE = {"block_out_channels": [8], "norm_num_groups": 4, "scaling_factor": 0.5}


def tiny_prior() -> ImagePrior:
    torch.manual_seed(0)
    return ImagePrior.from_config(UNET, VAE, batch_size=4).eval()


@torch.no_grad()
def test_standardising_changes_the_latents_and_not_the_frames():
    prior = tiny_prior()
    frames = torch.rand(6, 3, 16, 16) * 2 - 1
    before = prior.decode(prior.encode(frames))
    standardise(prior, frames, latent_noise=0.05)
    latents = prior.encode(frames).transpose(0, 1).flatten(1)
    torch.testing.assert_close(latents.mean(1), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.std(1), torch.ones(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(prior.decode(prior.encode(frames)), before, atol=1e-4, rtol=1e-4)
    posterior = prior.vae.encode(frames).latent_dist
    torch.testing.assert_close(posterior.std, torch.full_like(posterior.std, 0.05))


def test_crops_are_parts_of_their_frames():
    frames = torch.arange(2 * 3 * 8 * 8.0).view(2, 3, 8, 8)
    for frame, crop in zip(frames, random_crops(frames, 4), strict=True):
        rows, columns = torch.where(frame[0] == crop[0, 0, 0])
        top, left = int(rows[0]), int(columns[0])
        assert torch.equal(frame[:, top : top + 4, left : left + 4], crop)


def test_a_bank_is_encoded_once_and_batches_are_drawn_from_it(tmp_path):
    prior = tiny_prior()
    path = tmp_path / "latents.pt"
    bank = encoded_frames(path, prior, clips=2, frames=3, size=(16, 16), seed=0)
    assert bank.shape == (6, 4, 16, 16)
    calls = dict(prior.calls)
    again = encoded_frames(path, prior, clips=2, frames=3, size=(16, 16), seed=0)
    assert torch.equal(again, bank) and prior.calls == calls
    batch = next(drawn_from(bank, 4))["latents"]
    assert all((bank.float() == latent).flatten(1).all(1).any() for latent in batch)


@torch.no_grad()
def test_an_answer_of_zero_costs_the_variance_of_the_noise():
    prior = tiny_prior()
    for parameter in prior.unet.conv_out.parameters():
        parameter.zero_()
    errors = latent_noise_errors(prior, torch.randn(8, 4, 16, 16), autocast=False)()
    assert all(abs(value - 1) < 0.05 for value in errors.values())
