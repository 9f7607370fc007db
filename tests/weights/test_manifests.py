"""The ten published layouts, by key and shape, without their gigabytes."""

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel

from lvis.backbone import WanTransformer
from lvis.cli.config import compose, plain
from lvis.errors import UserError
from lvis.vae.lean import LeanVAE
from lvis.vae.tae import TAE
from lvis.vae.wan import WanVAE
from lvis.weights import architecture, keys
from lvis.weights.check import account, fill
from lvis.weights.load import parameters_on_meta

COUNTS = {
    "wan2.1_t2v_1.3b_original": ("wan", 825),
    "wan2.1_t2v_1.3b_diffusers": ("wan_diffusers", 825),
    "wan2.1_vae_original": ("wan_vae", 194),
    "wan2.1_vae_diffusers": ("wan_vae_diffusers", 194),
    "umt5_xxl_encoder_original": ("t5", 242),
    "umt5_xxl_encoder_hf": ("t5_hf", 243),
    "leanvae_4ch": ("lean_vae", 168),
    "leanvae_16ch": ("lean_vae", 168),
    "leanvae_16ch_align_wan2.1_ista4": ("lean_vae", 220),
    "taehv_taew2_1": ("taehv", 128),
}


@pytest.mark.parametrize("name", COUNTS)
def test_each_layout_is_told_from_the_others(manifests, name):
    layout, count = COUNTS[name]
    assert len(manifests[name]) == count
    assert keys.layout(manifests[name]) == layout


def shapes(state):
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def test_original_transformer_converts_to_the_published_diffusers_keys(manifests):
    converted = keys.transformer_to_diffusers(manifests["wan2.1_t2v_1.3b_original"])
    assert shapes(converted) == shapes(manifests["wan2.1_t2v_1.3b_diffusers"])


def test_original_vae_converts_to_the_published_diffusers_keys(manifests):
    converted = keys.vae_to_diffusers(manifests["wan2.1_vae_original"])
    assert shapes(converted) == shapes(manifests["wan2.1_vae_diffusers"])


def test_original_text_encoder_converts_to_the_published_transformers_keys(manifests):
    converted = keys.tie_t5(keys.t5_to_hf(manifests["umt5_xxl_encoder_original"]))
    assert shapes(converted) == shapes(manifests["umt5_xxl_encoder_hf"])


def test_sizes_of_the_1_3b_transformer_are_read_off_its_tensors(manifests):
    state = manifests["wan2.1_t2v_1.3b_diffusers"]
    sizes = architecture.from_state(state, "manifest")
    with parameters_on_meta():
        transformer = WanTransformer(**sizes)
    account(transformer.net, state, "manifest")
    assert transformer.num_heads == 12
    assert sum(p.numel() for p in transformer.parameters()) == 1_418_996_800
    with torch.device("meta"):
        account(WanTransformer3DModel(**(sizes | {"qk_norm": "rms_norm_across_heads"})), state, "")


def test_wans_own_config_and_diffusers_config_give_the_same_sizes():
    original = {
        "_class_name": "WanModel",
        "dim": 1536,
        "eps": 1e-06,
        "ffn_dim": 8960,
        "freq_dim": 256,
        "in_dim": 16,
        "model_type": "t2v",
        "num_heads": 12,
        "num_layers": 30,
        "out_dim": 16,
        "text_len": 512,
    }
    sizes = architecture.from_config(original, "config")
    theirs = architecture.from_config(
        {**sizes, "rope_max_seq_len": 1024, "image_dim": None, "patch_size": [1, 2, 2]}, "config"
    )
    assert theirs == {**sizes, "patch_size": (1, 2, 2)}
    assert sizes["attention_head_dim"] == 128


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"model_type": "i2v"}, "model_type"),
        ({"image_dim": 1280}, "image_dim"),
        ({"sice": 1}, "sice"),
    ],
)
def test_another_model_of_the_family_is_refused_by_its_config(config, named):
    with pytest.raises(UserError, match=named):
        architecture.from_config(config, "config.json")


def test_the_vae_fits_its_manifest(manifests):
    with parameters_on_meta():
        vae = WanVAE.from_config({})
    fill(vae.net, manifests["wan2.1_vae_diffusers"], "manifest")
    assert isinstance(vae.net, AutoencoderKLWan)
    assert sum(p.numel() for p in vae.parameters()) == pytest.approx(126.9e6, rel=1e-3)


@pytest.mark.parametrize("name", [name for name in COUNTS if name.startswith("lean")])
def test_lean_vae_fits_each_of_its_manifests(manifests, name):
    sizes = LeanVAE.infer_config(manifests[name])
    with parameters_on_meta():
        vae = LeanVAE(**sizes)
    fill(vae, manifests[name], "manifest")
    assert sizes["ista_iter_num"] == (4 if "ista4" in name else 2)
    assert vae.latent_channels == (4 if "4ch" in name else 16)


def test_the_tiny_autoencoder_fits_its_manifest(manifests):
    official = manifests["taehv_taew2_1"]
    sizes = TAE.infer_config(official)
    with parameters_on_meta():
        vae = TAE(**sizes)
    fill(vae, official, "manifest")
    assert sizes == {
        "latent_channels": 16,
        "encoder_width": 64,
        "decoder_widths": (256, 128, 64, 64),
    }
    assert sum(p.numel() for p in vae.parameters()) == pytest.approx(11.3e6, rel=5e-3)


@pytest.mark.parametrize("name", COUNTS)
def test_a_checkpoint_of_another_kind_is_named(manifests, name):
    layout, _ = COUNTS[name]
    wanted = ("lean_vae",) if layout != "lean_vae" else ("wan", "wan_diffusers")
    with pytest.raises(UserError, match=keys.NAMES[layout]):
        keys.expect(manifests[name], wanted, "file")


@pytest.mark.parametrize(
    "prefix", ["model.", "module.model.", "model._fsdp_wrapped_module.", "model.diffusion_model."]
)
def test_wrappers_of_training_checkpoints_come_off(manifests, prefix):
    original = manifests["wan2.1_t2v_1.3b_original"]
    wrapped = {prefix + key: tensor for key, tensor in original.items()}
    for payload in (wrapped, {"generator": wrapped, "critic": {}}, {"model": wrapped}):
        assert keys.unwrap(payload, "file").keys() == original.keys()


def test_names_that_wrappers_insert_inside_keys_come_off():
    weight = torch.zeros(1)
    state = {"model.blocks.0._checkpoint_wrapped_module.q": weight, "model._orig_mod.head": weight}
    assert keys.unwrap(state, "file").keys() == {"blocks.0.q", "head"}


def test_the_average_is_preferred_and_the_critic_can_be_asked_for():
    payload = {
        name: {"model.head": torch.full((1,), value)}
        for name, value in (("generator", 1.0), ("critic", 2.0), ("generator_ema", 3.0))
    }
    assert keys.unwrap(payload, "file")["head"] == 3
    assert keys.unwrap(payload, "file", ema=False)["head"] == 1
    assert keys.unwrap(payload, "file", which="critic")["head"] == 2
    # the released Self-Forcing file has nothing but the average
    only = {"generator_ema": payload["generator_ema"]}
    assert keys.unwrap(only, "file", ema=False)["head"] == 3
    with pytest.raises(UserError, match="no critic but generator_ema"):
        keys.unwrap(only, "file", which="critic")


def test_keys_that_only_wrappers_tell_apart_are_refused():
    state = {"a._orig_mod.b": torch.zeros(1), "a.b": torch.ones(1)}
    with pytest.raises(UserError, match="wrapper prefixes"):
        keys.unwrap(state, "file")


def test_of_a_lightning_checkpoint_only_the_autoencoder_is_taken(manifests):
    official = manifests["leanvae_16ch"]
    state = {f"autoencoder.{key}": tensor for key, tensor in official.items()}
    state["image_discriminator.main.0.weight"] = torch.zeros(1)
    payload = {"state_dict": state, "epoch": 3, "hyper_parameters": {"lr": 1e-4}}
    assert keys.unwrap(payload, "file").keys() == official.keys()


def scaled(manifest, sizes, layers):
    """The keys of a 1.3B checkpoint at the widths of a larger member of the family."""
    grown = {}
    for key, tensor in manifest.items():
        shape = tuple(sizes.get(size, size) for size in tensor.shape)
        numbers = range(layers) if key.startswith("blocks.0.") else (None,)
        if key.startswith("blocks.") and not key.startswith("blocks.0."):
            continue
        for number in numbers:
            name = key if number is None else key.replace("blocks.0.", f"blocks.{number}.", 1)
            grown[name] = torch.empty(shape, device="meta")
    return grown


def test_the_14b_transformer_takes_its_checkpoint_in_both_layouts(manifests):
    config = compose("model/wan14b").model.teacher.config
    with parameters_on_meta():
        transformer = WanTransformer(**architecture.from_config(config, "conf"))
    # widths of Wan's published t2v_14B configuration
    widths = {1536: 5120, 8960: 13824, 6 * 1536: 6 * 5120}
    original = scaled(manifests["wan2.1_t2v_1.3b_original"], widths, 40)
    assert len(original) == 1095
    account(transformer.net, keys.transformer_to_diffusers(original), "original")
    account(transformer.net, scaled(manifests["wan2.1_t2v_1.3b_diffusers"], widths, 40), "theirs")
    with torch.device("meta"):
        theirs = WanTransformer3DModel(**config, qk_norm="rms_norm_across_heads")
    account(theirs, transformer.net.state_dict(), "diffusers")
    assert sum(p.numel() for p in transformer.parameters()) == pytest.approx(14.29e9, rel=1e-3)


def test_the_5b_model_takes_its_checkpoint():
    model = compose("model/wan2_2_5b").model
    with parameters_on_meta():
        transformer = WanTransformer(**architecture.from_config(model.teacher.config, "conf"))
        vae = WanVAE.from_config(plain(model.teacher_vae.config))
    with torch.device("meta"):
        theirs = WanTransformer3DModel(**model.teacher.config, qk_norm="rms_norm_across_heads")
    account(theirs, transformer.net.state_dict(), "diffusers")
    assert sum(p.numel() for p in transformer.parameters()) == pytest.approx(5.0e9, rel=1e-3)
    # the published file has 2.82 GB of float32
    assert 4 * sum(p.numel() for p in vae.parameters()) == pytest.approx(2.82e9, rel=3e-3)
    assert (vae.latent_channels, vae.spatial_stride) == (48, 16)
