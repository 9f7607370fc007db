"""Wan 2.2's VAE: the numbers of diffusers', and a stream that is the whole clip."""

import pytest
import torch

from lvis.vae import WanVAE
from lvis.vae.wan_residual import fold, unfold

TINY = {
    "base_dim": 8,
    "decoder_base_dim": 12,
    "z_dim": 6,
    "num_res_blocks": 1,
    "in_channels": 12,
    "out_channels": 12,
    "is_residual": True,
    "patch_size": 2,
    "scale_factor_spatial": 16,
}


@pytest.fixture(scope="module")
def vae() -> WanVAE:
    torch.manual_seed(0)
    vae = WanVAE(**TINY, latents_mean=[0.1] * 6, latents_std=[0.7] * 6)
    for name, parameter in vae.named_parameters():
        if "gamma" in name or "bias" in name:  # diffusers starts them at 1 and near 0
            parameter.data += 0.2 * torch.randn_like(parameter)
    return vae.requires_grad_(False)


def clip(frames: int, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.rand(batch, 3, frames, 32, 48, generator=generator) * 2 - 1


@pytest.mark.parametrize("frames", [1, 5, 13])
def test_equals_diffusers(vae, frames):
    video = clip(frames, batch=2)
    latents = vae.encode(video)
    assert latents.shape == (2, 6, vae.latent_frames(frames), 2, 3)
    raw = latents * 0.7 + 0.1
    torch.testing.assert_close(raw, vae.net.encode(video).latent_dist.mode(), atol=1e-5, rtol=0)
    decoded = vae.decode(latents)
    assert decoded.shape == video.shape and decoded.abs().max() > 0.1
    torch.testing.assert_close(decoded.clamp(-1, 1), vae.net.decode(raw).sample, atol=1e-5, rtol=0)


@pytest.mark.parametrize("lengths", [(3, 1), (1, 1, 2), (2, 2)])
def test_stream_equals_whole_clip(vae, lengths):
    video = clip(vae.video_frames(sum(lengths)))
    latents = vae.encode(video)
    decoded = vae.decode(latents)
    encode_state = decode_state = None
    first, latent_blocks, video_blocks = 0, [], []
    for length in lengths:
        frames = 4 * length if first else 4 * length - 3
        block, encode_state = vae.encode_block(video[:, :, first : first + frames], encode_state)
        part, decode_state = vae.decode_block(block, decode_state)
        assert (block.shape[2], part.shape[2]) == (length, frames)
        first += frames
        latent_blocks.append(block)
        video_blocks.append(part)
    torch.testing.assert_close(torch.cat(latent_blocks, 2), latents, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.cat(video_blocks, 2), decoded, atol=1e-5, rtol=0)


def test_folding_is_undone():
    video = clip(5)
    folded = fold(video, 2)
    assert folded.shape == (1, 12, 5, 16, 24)
    assert torch.equal(unfold(folded, 2), video)
