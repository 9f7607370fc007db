"""The latent image prior's files: a round trip, SDXL's sizes, text encoders, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from lvis.backbone.image_prior import ImagePrior, pooled_width, token_width
from lvis.errors import UserError
from lvis.weights import safe
from lvis.weights.image_prior import load_image_prior, save_image_prior
from lvis.weights.sdxl_text import embed_prompt

UNET = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [1, 2],
    "cross_attention_dim": 16,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 32,
}
VAE = {"block_out_channels": [8], "latent_channels": 4, "norm_num_groups": 4}
WEIGHTS = "diffusion_pytorch_model.safetensors"
# unet/config.json and vae/config.json of stable-diffusion-xl-base-1.0
SDXL_UNET = {
    "sample_size": 128,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
SDXL_VAE = {
    "sample_size": 1024,
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "scaling_factor": 0.13025,
}


@pytest.fixture
def folder(tmp_path) -> Path:
    torch.manual_seed(0)
    save_image_prior(ImagePrior.from_config(UNET, VAE), tmp_path, torch.float32)
    return tmp_path


def test_a_saved_prior_answers_as_before(folder):
    torch.manual_seed(0)
    prior = ImagePrior.from_config(UNET, VAE).eval()
    again = load_image_prior(str(folder), batch_size=2)
    frames = torch.rand(3, 3, 8, 8) * 2 - 1
    with torch.no_grad():
        latents = prior.encode(frames)
        assert latents.shape == (3, 4, 8, 8)
        for name, value in {"noise": (latents, 281), "decode": (latents,)}.items():
            answers = [getattr(model, name)(*value) for model in (prior, again)]
            torch.testing.assert_close(*answers, atol=1e-5, rtol=1e-5)
    assert again.calls == {"unet": 3, "encoder": 0, "decoder": 3}


def test_scaled_latents_decode_to_the_same_frames(folder):
    prior = load_image_prior(str(folder))
    frames = torch.rand(1, 3, 8, 8) * 2 - 1
    with torch.no_grad():
        latents, decoded = prior.encode(frames), prior.decode(prior.encode(frames))
        prior.scale *= 0.5
        torch.testing.assert_close(prior.encode(frames), latents * 0.5)
        torch.testing.assert_close(prior.decode(latents * 0.5), decoded)


def test_sdxl_has_the_published_sizes_and_the_prior_reads_them():
    with torch.device("meta"):
        unet, vae = UNet2DConditionModel(**SDXL_UNET), AutoencoderKL(**SDXL_VAE)
    assert sum(p.numel() for p in unet.parameters()) == 2_567_463_684
    assert sum(p.numel() for p in vae.parameters()) == 83_653_863
    assert (token_width(unet), pooled_width(unet)) == (2048, 1280)
    keys = set(unet.state_dict())
    assert len(keys) == 1680
    assert "mid_block.attentions.0.transformer_blocks.9.attn2.to_k.weight" in keys
    assert "add_embedding.linear_1.weight" in keys


def test_a_vae_in_the_old_layout_is_read(folder):
    prior = load_image_prior(str(folder))
    path = folder / "vae" / WEIGHTS
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for key, value in safe.read_file(path)[0].items():
        for new, name in old.items():
            key = key.replace(f".{new}.", f".{name}.")
        state[key] = value
    assert "decoder.mid_block.attentions.0.query.weight" in state
    safe.write_tensors(path, state, {"format": "pt"})
    again = load_image_prior(str(folder)).vae.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in prior.vae.state_dict().items())


@pytest.fixture
def text_encoders(folder) -> Path:
    from transformers import (
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
    )

    words = ["<|startoftext|>", "<|endoftext|>", "a</w>", "!"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=6,
        projection_dim=8,
        bos_token_id=0,
        eos_token_id=1,
    )
    torch.manual_seed(1)
    for number, kind in (("", CLIPTextModel), ("_2", CLIPTextModelWithProjection)):
        kind(config).save_pretrained(folder / f"text_encoder{number}")
        tokenizer.save_pretrained(folder / f"tokenizer{number}")
    return folder


def test_without_its_file_the_null_prompt_is_encoded(text_encoders):
    (text_encoders / "null_embedding.safetensors").unlink()
    prior = load_image_prior(str(text_encoders))
    assert prior.null_tokens.shape == (1, 6, 16) and prior.null_pooled.shape == (1, 8)
    said = embed_prompt(text_encoders, "a")
    assert not torch.equal(said.tokens, prior.null_tokens)


def refuse(match: str, *arguments: object, **options: object) -> None:
    with pytest.raises(UserError, match=match) as error:
        load_image_prior(*arguments, **options)
    assert "\n" not in str(error.value)


def test_what_is_missing_is_named(folder):
    vae, null = folder / "vae" / WEIGHTS, folder / "null_embedding.safetensors"
    vae.rename(folder / "kept")
    refuse(r"lacks its image VAE \(vae/", str(folder))
    (folder / "kept").rename(vae)
    null.rename(folder / "null.safetensors")
    refuse("null prompt.*text encoders", str(folder))
    load_image_prior(str(folder), null_embedding=str(folder / "null.safetensors"))
    refuse("image UNet .* and image VAE", str(folder / "absent"))


def test_what_does_not_fit_is_refused(folder):
    path = folder / "unet" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"cross_attention_dim": 8}))
    refuse("mis-shaped", str(folder))
    path.write_text(json.dumps(config | {"_class_name": "UNet2DModel"}))
    refuse("UNet2DModel", str(folder))
    path.write_text(json.dumps(config))
    (folder / "scheduler").mkdir()
    scheduler = {"prediction_type": "v_prediction"}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    refuse("v_prediction", str(folder))
