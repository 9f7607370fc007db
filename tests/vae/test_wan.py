import pytest
import torch

from lvis.errors import UserError
from lvis.vae import WanVAE, wan_layers
from lvis.vae.wan_layers import rms_norm

TINY = {"base_dim": 8, "num_res_blocks": 1}


@pytest.fixture(scope="module")
def vae() -> WanVAE:
    torch.manual_seed(0)
    vae = WanVAE(**TINY)
    for name, parameter in vae.named_parameters():
        if "gamma" in name or "bias" in name:  # diffusers starts them at 1 and near 0
            parameter.data += 0.2 * torch.randn_like(parameter)
    return vae.requires_grad_(False)


def clip(frames: int, batch: int = 1, height: int = 16, width: int = 24) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.rand(batch, 3, frames, height, width, generator=generator) * 2 - 1


@pytest.mark.parametrize("frames", [1, 5, 17])
def test_equals_diffusers(vae, frames):
    video = clip(frames, batch=2)
    posterior = vae.net.encode(video).latent_dist
    mean, log_variance = vae.moments(video)
    torch.testing.assert_close(mean, posterior.mode(), atol=1e-5, rtol=0)
    torch.testing.assert_close(log_variance, posterior.logvar, atol=1e-5, rtol=0)

    latents = vae.encode(video)
    assert latents.shape == (2, 16, vae.latent_frames(frames), 2, 3)
    raw = latents * vae.latents_std + vae.latents_mean
    torch.testing.assert_close(raw, posterior.mode(), atol=1e-5, rtol=0)
    decoded = vae.decode(latents)
    assert decoded.shape == video.shape
    assert decoded.abs().max() > 0.1
    torch.testing.assert_close(decoded.clamp(-1, 1), vae.net.decode(raw).sample, atol=1e-5, rtol=0)


@pytest.mark.parametrize("lengths", [(3, 3, 3), (1, 1, 2), (2, 1, 1)])
def test_stream_equals_whole_clip(vae, lengths):
    video = clip(vae.video_frames(sum(lengths)))
    latents, decoded = vae.encode(video), vae.decode(vae.encode(video))
    encode_state = decode_state = None
    first_frame, latent_blocks, video_blocks = 0, [], []
    for length in lengths:
        frames = 4 * length if first_frame else 4 * length - 3
        block = video[:, :, first_frame : first_frame + frames]
        first_frame += frames
        latent_block, encode_state = vae.encode_block(block, encode_state)
        video_block, decode_state = vae.decode_block(latent_block, decode_state)
        assert latent_block.shape[2] == length
        assert video_block.shape[2] == frames
        latent_blocks.append(latent_block)
        video_blocks.append(video_block)
    torch.testing.assert_close(torch.cat(latent_blocks, 2), latents, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.cat(video_blocks, 2), decoded, atol=1e-5, rtol=0)


def test_every_layer_of_every_block_keeps_the_channels_last(vae, monkeypatch):
    """A layer that forgets the memory format makes all after it slower, on any device."""
    forgetful = []

    def watched(norm, x, *, silu):
        if not x.movedim(1, -1).is_contiguous():
            forgetful.append(tuple(x.shape))
        return rms_norm(norm, x, silu=silu)

    monkeypatch.setattr(wan_layers, "rms_norm", watched)
    _, past = vae.decode_block(vae.encode(clip(9)))
    vae.decode_block(vae.encode(clip(9)), past)
    assert not forgetful


@pytest.mark.parametrize("with_bias", [True, False])
def test_a_small_convolution_in_time_is_conv3d(with_bias):
    def draw(*shape):
        # float32 sums in another order on another processor
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    generator = torch.Generator().manual_seed(0)
    x, weight = draw(1, 4, 5, 6, 7), draw(3, 4, 3, 3, 3)
    bias = draw(3) if with_bias else None
    found = wan_layers._conv_in_time(x, weight, bias, missing=1)
    padded = torch.nn.functional.pad(x, (0, 0, 0, 0, 1, 0))
    expected = torch.nn.functional.conv3d(padded, weight, bias, padding=(0, 1, 1))
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_states_are_values(vae):
    """Two futures of one past: running one leaves the other as it was."""
    _, past = vae.encode_block(clip(9))
    before = [tensor.clone() for tensor in past]
    first, _ = vae.encode_block(clip(12), past)
    vae.encode_block(clip(4), past)
    again, _ = vae.encode_block(clip(12), past)
    assert all(torch.equal(a, b) for a, b in zip(before, past, strict=True))
    assert torch.equal(first, again)

    _, past = vae.decode_block(vae.encode(clip(9)))
    latents = vae.encode(clip(5))
    first, _ = vae.decode_block(latents, past)
    vae.decode_block(2 * latents, past)
    assert torch.equal(first, vae.decode_block(latents, past)[0])


def test_state_keeps_no_activation_alive(vae):
    _, state = vae.encode_block(clip(17))
    for tensor in state:
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def test_gradient_equals_that_of_diffusers(vae):
    latents = torch.randn(1, 16, 2, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.1
    ours, theirs = latents.clone().requires_grad_(), latents.clone().requires_grad_()
    vae.decode(ours).clamp(-1, 1).square().sum().backward()
    raw = theirs * vae.latents_std + vae.latents_mean
    vae.net.decode(raw).sample.square().sum().backward()
    scale = theirs.grad.abs().max()
    torch.testing.assert_close(ours.grad / scale, theirs.grad / scale, atol=1e-4, rtol=0)


def test_bf16_is_close_to_float32_and_trains():
    torch.manual_seed(0)
    vae = WanVAE(**TINY)
    video = clip(9, batch=2, height=16, width=16)

    def loss_and_gradient():
        vae.zero_grad()
        decoded = vae.decode(vae.encode(video))
        assert decoded.dtype == torch.float32
        (decoded - video).square().mean().backward()
        gradient = torch.cat([p.grad.flatten() for p in vae.parameters() if p.grad is not None])
        return decoded.detach(), gradient

    exact_video, exact_gradient = loss_and_gradient()
    vae.encode_dtype = vae.decode_dtype = torch.bfloat16
    rounded_video, rounded_gradient = loss_and_gradient()
    assert (rounded_video - exact_video).norm() < 0.05 * exact_video.norm()
    cosine = torch.nn.functional.cosine_similarity(exact_gradient, rounded_gradient, dim=0)
    assert cosine > 0.99


def test_bf16_single_frame_backward_survives_large_sides():
    """A conv3d of output depth 1 corrupts the heap there; in a stream every block has such ones."""
    torch.manual_seed(0)
    vae = WanVAE(**TINY, encode_dtype=torch.bfloat16, decode_dtype=torch.bfloat16)
    latents, _ = vae.encode_block(clip(1, height=104, width=104))
    first, state = vae.decode_block(latents)
    later, _ = vae.decode_block(latents, state)
    (first.mean() + later.mean()).backward()
    assert all(p.grad.isfinite().all() for p in vae.parameters() if p.grad is not None)


def test_encodes_in_float32_under_autocast(vae):
    video = clip(5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        latents = vae.encode(video)
    assert torch.equal(latents, vae.encode(video))


def test_statistics_normalise_latents(vae):
    mean, _ = vae.moments(clip(5))
    shift, scale = [float(i) for i in range(16)], [0.5 + i for i in range(16)]
    other = WanVAE.from_config({**vae.config, "latents_mean": shift, "latents_std": scale})
    other.net.load_state_dict(vae.net.state_dict())
    expected = (mean - torch.tensor(shift).view(1, -1, 1, 1, 1)) / torch.tensor(scale).view(
        1, -1, 1, 1, 1
    )
    torch.testing.assert_close(other.encode(clip(5)), expected, atol=1e-5, rtol=0)
    assert other.config["latents_std"] == scale


def test_meta_device_build_keeps_statistics(vae):
    """Weights are loaded without ever allocating random ones; the statistics come from config."""
    with torch.device("meta"):
        built = WanVAE.from_config({**vae.config, "_class_name": "AutoencoderKLWan"})
    # oneDNN may choose another algorithm, with other roundings, where gradients are wanted
    built.requires_grad_(False).load_state_dict(vae.state_dict(), assign=True)
    assert torch.equal(built.encode(clip(5)), vae.encode(clip(5)))


@pytest.mark.parametrize("shape", [(1, 3, 4, 32, 32), (1, 3, 5, 30, 32), (1, 4, 5, 32, 32)])
def test_bad_video_is_a_user_error(vae, shape):
    with pytest.raises(UserError):
        vae.encode(torch.zeros(shape))


def test_bad_blocks_and_configs_are_user_errors(vae):
    _, state = vae.encode_block(clip(5))
    with pytest.raises(UserError, match="multiple of 4"):
        vae.encode_block(clip(5), state)
    with pytest.raises(UserError, match="16"):
        vae.decode(torch.zeros(1, 8, 1, 4, 4))
    with pytest.raises(UserError, match="latents_std"):
        WanVAE(**TINY, latents_std=[0.0] * 16)
