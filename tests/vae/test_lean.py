"""LeanVAE: the reference's numbers, its checkpoints' names, streams equal to whole clips."""

import inspect
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from lvis.errors import UserError
from lvis.vae import haar
from lvis.vae.lean import WAN21_LATENTS_MEAN, WAN21_LATENTS_STD, LeanVAE
from lvis.vae.naf import CausalDepthwiseConv

DATA = Path(__file__).parents[1] / "fixtures"
MANIFESTS = json.loads((DATA / "leanvae_keys.json").read_text())
GOLDEN = load_file(DATA / "lean_vae.safetensors")
WEIGHTS = {k.removeprefix("weights."): v for k, v in GOLDEN.items() if k.startswith("weights.")}


def golden_vae(**options) -> LeanVAE:
    vae = LeanVAE(**LeanVAE.infer_config(WEIGHTS), **options)
    vae.load_state_dict(WEIGHTS)
    return vae.requires_grad_(False)


def random_video(frames: int, generator_seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(generator_seed)
    return torch.rand(1, 3, frames, 16, 24, generator=generator) * 2 - 1


def tensors(state) -> list[torch.Tensor]:
    return (
        [state] if isinstance(state, torch.Tensor) else [t for part in state for t in tensors(part)]
    )


def test_whole_clip_gives_the_references_latents_and_reconstruction():
    vae = golden_vae()
    latents = vae.encode(2 * GOLDEN["video"])
    torch.testing.assert_close(latents, GOLDEN["latents"], atol=2e-5, rtol=0)
    video = vae.decode(GOLDEN["latents"])
    torch.testing.assert_close(video, 2 * GOLDEN["reconstruction"], atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", MANIFESTS)
def test_names_shapes_and_sizes_are_those_of_the_official_checkpoint(name):
    official = {key: torch.empty(shape, device="meta") for key, shape in MANIFESTS[name].items()}
    config = LeanVAE.infer_config(official)
    assert config["latent_dim"] == (16 if "16ch" in name else 4)
    assert config["ista_iter_num"] == (4 if "ista4" in name else 2)
    with torch.device("meta"):
        vae = LeanVAE(**config)
    assert {key: list(t.shape) for key, t in vae.state_dict().items()} == MANIFESTS[name]


def test_config_rebuilds_a_model_of_reduced_width():
    vae = LeanVAE(8, 8, 24, 1, 3, 1, 2, latents_mean=[0.5] * 8, latents_std=[2.0] * 8)
    copy = LeanVAE(**vae.config)
    copy.load_state_dict(vae.state_dict())
    video = random_video(5)
    assert torch.equal(copy.encode(video), vae.encode(video))


def test_infer_config_names_the_tensor_that_a_prefixed_checkpoint_lacks():
    with pytest.raises(UserError, match="latent_bottleneck.phi"):
        LeanVAE.infer_config({f"autoencoder.{key}": value for key, value in WEIGHTS.items()})


def test_encoding_blocks_of_9_12_12_frames_equals_the_whole_clip():
    vae, video = golden_vae(), random_video(33)
    state, blocks = None, []
    for block in video.split([9, 12, 12], dim=2):
        latents, state = vae.encode_block(block, state)
        assert latents.shape[2] == 3
        blocks.append(latents)
    torch.testing.assert_close(torch.cat(blocks, 2), vae.encode(video), atol=1e-5, rtol=0)


def test_decoding_blocks_of_3_latents_equals_the_whole_clip():
    vae = golden_vae()
    latents = torch.randn(1, 16, 9, 2, 3, generator=torch.Generator().manual_seed(0))
    state, blocks = None, []
    for block in latents.split(3, dim=2):
        video, state = vae.decode_block(block, state)
        blocks.append(video)
    assert [block.shape[2] for block in blocks] == [9, 12, 12]
    torch.testing.assert_close(torch.cat(blocks, 2), vae.decode(latents), atol=1e-5, rtol=0)


def test_a_stream_that_begins_with_one_frame_equals_the_whole_clip():
    vae, video = golden_vae(), random_video(5)
    first, state = vae.encode_block(video[:, :, :1])
    second, _ = vae.encode_block(video[:, :, 1:], state)
    latents = torch.cat((first, second), dim=2)
    torch.testing.assert_close(latents, vae.encode(video), atol=1e-5, rtol=0)
    frame, state = vae.decode_block(first)
    rest, _ = vae.decode_block(second, state)
    assert frame.shape == (1, 3, 1, 16, 24)
    torch.testing.assert_close(torch.cat((frame, rest), 2), vae.decode(latents), atol=1e-5, rtol=0)


def test_a_state_is_a_value_that_several_continuations_share():
    vae = golden_vae()
    latents = vae.encode(random_video(17))
    _, state = vae.decode_block(latents[:, :, :2])
    before = [t.clone() for t in tensors(state)]
    once, _ = vae.decode_block(latents[:, :, 2:], state)
    vae.decode_block(latents[:, :, 2:].flip(2), state)
    again, _ = vae.decode_block(latents[:, :, 2:], state)
    assert torch.equal(once, again)
    assert all(map(torch.equal, before, tensors(state)))
    # a state owns two frames a convolution, nothing else
    for frames in tensors(state):
        assert frames.shape[1] == 2
        assert frames.untyped_storage().nbytes() == frames.nbytes


def test_both_variants_take_the_public_range_and_apply_their_own():
    stock, aligned = golden_vae(), golden_vae(variant="wan2.1")
    video = random_video(5)
    mean = torch.tensor(WAN21_LATENTS_MEAN).view(1, -1, 1, 1, 1)
    std = torch.tensor(WAN21_LATENTS_STD).view(1, -1, 1, 1, 1)
    codes = stock.encode(video)
    torch.testing.assert_close(aligned.encode(video / 2) * std + mean, codes, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        aligned.decode((codes - mean) / std), stock.decode(codes) / 2, atol=1e-5, rtol=0
    )


def test_the_aligned_statistics_are_those_of_wan():
    from diffusers import AutoencoderKLWan

    official = inspect.signature(AutoencoderKLWan.__init__).parameters
    assert list(WAN21_LATENTS_MEAN) == list(official["latents_mean"].default)
    assert list(WAN21_LATENTS_STD) == list(official["latents_std"].default)


def test_measured_statistics_normalise_the_latents_and_stay_out_of_the_checkpoint():
    vae, video = golden_vae(), random_video(9)
    codes = vae.encode(video)
    std, mean = torch.std_mean(codes, dim=(0, 2, 3, 4))
    vae.set_statistics(mean, std)
    latents = vae.encode(video)
    std, mean = torch.std_mean(latents, dim=(0, 2, 3, 4))
    torch.testing.assert_close(mean, torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(std, torch.ones(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(vae.decode(latents), golden_vae().decode(codes), atol=1e-5, rtol=0)
    assert vae.state_dict().keys() == WEIGHTS.keys()


def test_encode_keeps_its_precision_in_autocast_and_decode_may_run_in_bfloat16():
    vae, video = golden_vae(decode_dtype=torch.bfloat16), random_video(9)
    latents = vae.encode(video)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(vae.encode(video), latents)
    exact, rounded = golden_vae().decode(latents), vae.decode(latents)
    assert rounded.dtype == torch.float32
    error = (rounded - exact).norm() / exact.norm()
    assert 1e-5 < error < 2e-2


def test_gradients_reach_every_parameter_but_the_posteriors_spread():
    vae = golden_vae().requires_grad_(True)
    video = random_video(9).requires_grad_(True)
    reconstruction, latents = vae(video)
    assert video.shape == reconstruction.shape
    assert torch.equal(latents, vae.encode(video))
    reconstruction.square().mean().backward()
    assert video.grad is not None
    assert (video.grad.abs().amax(dim=(0, 1, 3, 4)) > 0).all()
    still = {key for key, p in vae.named_parameters() if p.grad is None or not p.grad.any()}
    assert still == {"std_layer.weight", "std_layer.bias"}


@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_convolutions_gradients_are_those_of_conv3d(frames, frozen):
    torch.manual_seed(0)
    mixer = CausalDepthwiseConv(5).double().requires_grad_(not frozen)
    features = torch.randn(2, frames, 6, 7, 5, dtype=torch.double, requires_grad=True)
    past = torch.randn(2, 2, 6, 7, 5, dtype=torch.double, requires_grad=True)
    output, last_frames = mixer(features, past)
    extended = torch.cat((past, features), dim=1)
    assert torch.equal(last_frames, extended[:, -2:])
    weight, bias = mixer.ds_conv.weight, mixer.ds_conv.bias
    expected = F.conv3d(
        extended.permute(0, 4, 1, 2, 3), weight, bias, padding=(0, 1, 1), groups=5
    ).permute(0, 2, 3, 4, 1)
    torch.testing.assert_close(output, expected)
    leaves = [features, past] + ([] if frozen else list(mixer.parameters()))
    seed = torch.randn_like(output)
    torch.testing.assert_close(
        torch.autograd.grad(output, leaves, seed), torch.autograd.grad(expected, leaves, seed)
    )


@pytest.mark.parametrize("frames", [1, 4])
def test_patches_invert(frames):
    video = random_video(8)
    patches = haar.to_patches(video, frames)
    assert patches.shape == (1, 8 // frames, 2, 3, 3 * frames * 64)
    assert torch.equal(haar.from_patches(patches, frames), video)


@pytest.mark.parametrize(("bands", "low"), [(4, haar.LOW_IMAGE), (8, haar.LOW_VIDEO)])
def test_the_wavelets_analysis_inverts_their_synthesis(bands, low):
    coefficients = torch.eye(bands * low, dtype=torch.double)
    synthesis, analysis = haar.synthesis(coefficients), haar.analysis_transposed(coefficients)
    # row i of the first holds the pixels of coefficient i, of the second the weights that read it
    torch.testing.assert_close(analysis @ synthesis.t(), coefficients)
    assert set(analysis.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert (analysis[:low] >= 0).all()


@pytest.mark.parametrize("shape", [(1, 3, 8, 16, 16), (1, 3, 9, 12, 16), (1, 4, 9, 16, 16)])
def test_a_clip_that_does_not_fit_the_strides_is_refused(shape):
    with pytest.raises(UserError):
        golden_vae().encode(torch.zeros(shape))


def test_a_later_block_that_is_not_whole_latents_is_refused():
    vae = golden_vae()
    _, state = vae.encode_block(random_video(5))
    with pytest.raises(UserError, match="multiple of 4"):
        vae.encode_block(random_video(9), state)


def test_latents_of_another_width_an_unknown_variant_and_bad_statistics_are_refused():
    with pytest.raises(UserError, match=r"\(1, 4, 1, 2, 2\)"):
        golden_vae().decode(torch.zeros(1, 4, 1, 2, 2))
    with pytest.raises(UserError, match="wan3"):
        golden_vae(variant="wan3")
    with pytest.raises(UserError, match="latents_mean has 3"):
        golden_vae(latents_mean=[0.0] * 3)
    with pytest.raises(UserError, match="positive"):
        golden_vae(latents_std=[0.0] * 16)
