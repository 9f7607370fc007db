"""What we save loads here, in diffusers and in transformers; published layouts load too."""

import json
from argparse import Namespace

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lvis.backbone import TextEncoder
from lvis.vae.lean import LeanVAE
from lvis.weights import (
    load_lean_vae,
    load_student,
    load_text_encoder,
    load_transformer,
    load_wan_vae,
    save_lean_vae,
    save_text_encoder,
    save_transformer,
    save_wan_vae,
)
from tests.weights.conftest import DATA, SMALL_VAE, WIDE


def golden(name):
    with safe_open(DATA / name, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
        config = json.loads(file.metadata()["config"])
    prefix = "weights."
    state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    return tensors, state, config


def same(state, other):
    assert state.keys() == other.keys()
    return all(torch.equal(state[key], other[key]) for key in state)


@pytest.fixture(scope="module")
def wan_golden():
    return golden("wan.safetensors")


@pytest.mark.parametrize("layout", ["bare", "self_forcing", "averaged", "folder"])
def test_original_layout_gives_the_reference_velocity(wan_golden, tmp_path, layout):
    tensors, state, config = wan_golden
    path = tmp_path / "model.pt"
    wrapped = {f"model.{key}": tensor for key, tensor in state.items()}
    garbage = {key: torch.zeros_like(tensor) for key, tensor in wrapped.items()}
    if layout == "bare":
        path = tmp_path / "model.safetensors"
        save_file(state, path)
    elif layout == "self_forcing":
        torch.save({"generator": wrapped, "critic": garbage}, path)
    elif layout == "averaged":
        inside = {
            key.replace("blocks.", "_fsdp_wrapped_module.blocks."): t for key, t in wrapped.items()
        }
        torch.save({"generator": garbage, "generator_ema": inside}, path)
    else:
        save_file(state, tmp_path / "diffusion_pytorch_model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps(config))
        path, config = tmp_path, None
    transformer = load_transformer(str(path), config)
    timestep = torch.tensor([500.0])
    with torch.no_grad():
        velocity = transformer(tensors["latents"], timestep, tensors["text"])
    assert (velocity - tensors["flow.t500"]).abs().max() < 1e-4


def test_lean_golden_loads_from_bare_and_lightning_checkpoints(tmp_path):
    tensors, state, config = golden("lean_vae.safetensors")
    torch.save({"args": config, "state_dict": state}, tmp_path / "bare.ckpt")
    torch.save(
        {
            "state_dict": {f"autoencoder.{k}": v for k, v in state.items()}
            | {"video_discriminator.main.0.weight": torch.zeros(2)},
            "hyper_parameters": {"args": Namespace(**config)},
            "epoch": 1,
        },
        tmp_path / "lightning.ckpt",
    )
    for name in ("bare.ckpt", "lightning.ckpt"):
        vae = load_lean_vae(str(tmp_path / name))
        with torch.no_grad():
            latents = vae.encode(2 * tensors["video"])
            video = vae.decode(tensors["latents"])
        assert (latents - tensors["latents"]).abs().max() < 1e-4
        assert (video / 2 - tensors["reconstruction"]).abs().max() < 1e-4


def test_transformer_round_trip(transformer, tmp_path):
    said = {"task": "inpaint", "vae": "lean", "student_timestep": 522.0}
    save_transformer(transformer, tmp_path, said)
    ours, extra = load_student(str(tmp_path))
    assert extra == said
    assert ours.text_len == 8
    assert same(ours.state_dict(), transformer.state_dict())
    # all of from_pretrained but the reading, for which diffusers wants accelerate
    theirs = WanTransformer3DModel.from_config(WanTransformer3DModel.load_config(tmp_path))
    theirs.load_state_dict(load_file(tmp_path / "diffusion_pytorch_model.safetensors"))
    assert same(theirs.state_dict(), transformer.net.state_dict())
    assert theirs.config.num_layers == WIDE["num_layers"]


def test_diffusers_from_pretrained_loads_what_we_save(transformer, tmp_path):
    pytest.importorskip("accelerate", reason="diffusers loads Wan with it only")
    save_transformer(transformer, tmp_path, {"task": "sr4"})
    theirs, report = WanTransformer3DModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert same(theirs.state_dict(), transformer.net.state_dict())


def test_without_a_config_the_sizes_come_from_the_tensors(transformer, tmp_path):
    save_transformer(transformer, tmp_path)
    loaded = load_transformer(str(tmp_path / "diffusion_pytorch_model.safetensors"), text_len=8)
    assert same(loaded.state_dict(), transformer.state_dict())


def test_a_pipeline_folder_serves_each_part_from_its_subfolder(transformer, wan_vae, tmp_path):
    save_transformer(transformer, tmp_path / "transformer")
    save_wan_vae(wan_vae, tmp_path / "vae")
    save_text_encoder(TextEncoder.tiny(), tmp_path / "text_encoder")
    assert same(load_transformer(str(tmp_path)).state_dict(), transformer.state_dict())
    assert same(load_wan_vae(str(tmp_path)).state_dict(), wan_vae.state_dict())
    assert load_text_encoder(str(tmp_path)).text_len == 32


def test_saved_weights_can_be_read_by_everyone(transformer, tmp_path):
    save_transformer(transformer, tmp_path)
    modes = {path.name: path.stat().st_mode & 0o444 for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o444}, modes


def test_half_precision_files_load_as_float32_parameters(transformer, tmp_path):
    save_transformer(transformer, tmp_path, dtype=torch.float16)
    loaded = load_transformer(str(tmp_path))
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert all(p.requires_grad and not p.is_meta for p in loaded.parameters())
    difference = loaded.net.proj_out.weight - transformer.net.proj_out.weight
    assert 0 < difference.abs().max() < 1e-3
    assert load_transformer(str(tmp_path), dtype="bfloat16").dtype == torch.bfloat16


def test_sharded_checkpoint_equals_the_single_file(transformer, tmp_path):
    transformer.net.save_pretrained(tmp_path, max_shard_size="150KB")
    assert (tmp_path / "diffusion_pytorch_model.safetensors.index.json").is_file()
    loaded = load_transformer(str(tmp_path))
    assert same(loaded.state_dict(), transformer.state_dict())


def test_wan_vae_round_trip_with_statistics_here_and_in_diffusers(wan_vae, tmp_path):
    save_wan_vae(wan_vae, tmp_path)
    ours = load_wan_vae(str(tmp_path), decode_dtype="bfloat16")
    assert same(ours.state_dict(), wan_vae.state_dict())
    assert torch.equal(ours.latents_std, wan_vae.latents_std)
    assert ours.decode_dtype == torch.bfloat16
    theirs = AutoencoderKLWan.from_pretrained(tmp_path)
    assert same(theirs.state_dict(), wan_vae.net.state_dict())
    assert theirs.config.latents_mean == pytest.approx(wan_vae.latents_mean.flatten().tolist())


def test_wans_own_folder_holds_the_transformer_and_the_vae(manifests, wan_golden, tmp_path):
    """The transformer of the reference, and Wan2.1_VAE.pth at an eighth of its width."""
    _, state, config = wan_golden
    save_file(state, tmp_path / "diffusion_pytorch_model.safetensors")
    config = {"_class_name": "WanModel", "model_type": "t2v", **config}
    (tmp_path / "config.json").write_text(json.dumps(config))
    # latent channels (16, 32), colours (3) and kernels stay, widths shrink
    small = {
        key: torch.randn([n // 8 if n > 32 else n for n in tensor.shape])
        for key, tensor in manifests["wan2.1_vae_original"].items()
    }
    torch.save(small, tmp_path / "Wan2.1_VAE.pth")
    vae = load_wan_vae(str(tmp_path), config={"base_dim": 12, "z_dim": 16})
    assert torch.equal(vae.net.decoder.conv_in.weight, small["decoder.conv1.weight"])
    assert torch.equal(vae.net.quant_conv.bias, small["conv1.bias"])
    transformer = load_transformer(str(tmp_path))
    assert transformer.text_len == config["text_len"]
    assert torch.equal(transformer.net.proj_out.weight, state["head.head.weight"])


def test_lean_vae_round_trip_keeps_sizes_variant_and_statistics(lean_vae, tmp_path):
    save_lean_vae(lean_vae, tmp_path)
    loaded = load_lean_vae(str(tmp_path))
    assert same(loaded.state_dict(), lean_vae.state_dict())
    assert torch.equal(loaded.latents_std, lean_vae.latents_std)
    video = torch.rand(1, 3, 5, 16, 16) * 2 - 1
    with torch.no_grad():
        assert torch.equal(loaded.encode(video), lean_vae.encode(video))


def test_text_encoder_round_trip_here_and_in_transformers(tmp_path):
    from transformers import UMT5EncoderModel

    encoder = TextEncoder.tiny(text_len=12)
    save_text_encoder(encoder, tmp_path)
    ours = load_text_encoder(str(tmp_path))
    prompts = ["a red disk moves left", ""]
    with torch.no_grad():
        assert torch.equal(ours(prompts), encoder(prompts))
    assert ours.net.encoder.embed_tokens.weight is ours.net.shared.weight
    theirs = UMT5EncoderModel.from_pretrained(tmp_path)
    assert same(theirs.state_dict(), encoder.net.state_dict())


def test_wans_umt5_file_gives_the_same_embeddings(tmp_path):
    """Renamed to Wan's layout and back through the loader, the encoder says the same."""
    encoder = TextEncoder.tiny(text_len=12)
    names = {
        "layer.0.layer_norm": "norm1",
        "layer.1.layer_norm": "norm2",
        "layer.0.SelfAttention.relative_attention_bias": "pos_embedding.embedding",
        "layer.0.SelfAttention": "attn",
        "layer.1.DenseReluDense.wi_0": "ffn.gate.0",
        "layer.1.DenseReluDense.wi_1": "ffn.fc1",
        "layer.1.DenseReluDense.wo": "ffn.fc2",
        "encoder.block": "blocks",
        "encoder.final_layer_norm": "norm",
        "shared": "token_embedding",
    }
    state = {}
    for key, tensor in encoder.net.state_dict().items():
        for theirs, wans in names.items():
            key = key.replace(theirs, wans)
        state[key] = tensor
    state.pop("encoder.embed_tokens.weight")
    torch.save(state, tmp_path / "models_t5_umt5-xxl-enc-bf16.pth")
    (tmp_path / "lvis.json").write_text('{"tokenizer": "words", "text_len": 12}')
    loaded = load_text_encoder(str(tmp_path))
    with torch.no_grad():
        assert torch.equal(loaded(["a disk"]), encoder(["a disk"]))


def test_random_weights_are_seeded_and_need_no_file():
    absent = "hub:nobody/nothing"
    first = load_transformer(absent, WIDE, weights="random", seed=3, text_len=4)
    torch.manual_seed(5)
    undisturbed = torch.rand(1)
    torch.manual_seed(5)
    again = load_transformer(absent, WIDE, weights="random", seed=3, text_len=4)
    assert torch.equal(torch.rand(1), undisturbed)
    other = load_transformer(absent, WIDE, weights="random", seed=4, text_len=4)
    assert same(first.state_dict(), again.state_dict())
    assert not same(first.state_dict(), other.state_dict())
    load_wan_vae(absent, SMALL_VAE, weights="random")
    small = {"low_width": 8, "high_width": 8}
    assert isinstance(load_lean_vae(absent, config=small, weights="random"), LeanVAE)
