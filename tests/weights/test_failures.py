"""Whatever is wrong with a checkpoint is said in one sentence; nothing of it runs or is used."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from lvis.cli.config import compose
from lvis.errors import UserError
from lvis.weights import (
    load_lean_vae,
    load_text_encoder,
    load_transformer,
    load_wan_vae,
    require,
    save_lean_vae,
    save_transformer,
)


@pytest.fixture
def saved(transformer, tmp_path):
    folder = tmp_path / "saved"
    save_transformer(transformer, folder)
    return folder


def rewrite(folder, change):
    path = folder / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)
    return str(folder)


def refuse(source, match, load=load_transformer, **options):
    with pytest.raises(UserError, match=match) as refusal:
        load(str(source), **options)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_a_missing_key_is_named(saved):
    source = rewrite(saved, lambda state: state.pop("blocks.1.attn2.to_v.bias"))
    refuse(source, r"1 missing \(blocks\.1\.attn2\.to_v\.bias \(128,\)\)")


def test_an_extra_key_is_named(saved):
    source = rewrite(saved, lambda state: state.update({"blocks.0.lora": torch.zeros(3)}))
    refuse(source, r"1 unexpected \(blocks\.0\.lora \(3,\)\)")


def test_a_wrong_shape_is_named_with_both_shapes(saved):
    source = rewrite(saved, lambda state: state.update({"proj_out.bias": torch.zeros(7)}))
    refuse(source, r"1 mis-shaped \(proj_out\.bias is \(7,\) instead of \(64,\)\)")


def test_many_faults_are_counted_and_the_first_listed(saved):
    config = json.loads((saved / "config.json").read_text())
    config["num_layers"] = 3
    (saved / "config.json").write_text(json.dumps(config))
    message = refuse(saved, r"\d+ missing \(blocks\.2.* and \d+ more\)")
    assert len(message) < 1000


def test_an_empty_prefix_match_cannot_load_nothing(lean_vae, tmp_path):
    """LeanVAE's own loader takes no key at all from a checkpoint with another prefix, silently."""
    state = {f"vae.{key}": tensor for key, tensor in lean_vae.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    refuse(tmp_path / "last.ckpt", "no layout we know", load_lean_vae)


class Bomb:
    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    bomb = Bomb()
    Bomb.path = str(tmp_path / "exploded")
    torch.save({"generator": {"model.head": bomb}}, tmp_path / "model.pt")
    message = refuse(tmp_path / "model.pt", "refusing")
    assert "mkdir" in message
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("kept", [4, 300, -1000])
def test_truncated_safetensors_are_refused(saved, kept):
    path = saved / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    refuse(saved, "damaged")


@pytest.mark.parametrize("kept", [0, 10, -2000])
def test_truncated_pickles_are_refused(transformer, tmp_path, kept):
    torch.save(transformer.net.state_dict(), tmp_path / "model.pt")
    content = (tmp_path / "model.pt").read_bytes()
    (tmp_path / "model.pt").write_bytes(content[:kept] if kept else b"")
    refuse(tmp_path / "model.pt", "damaged")


def test_a_header_that_claims_gigabytes_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    refuse(tmp_path / "model.safetensors", "damaged")


def test_a_shard_that_is_missing_or_outside_the_folder_is_refused(transformer, tmp_path):
    transformer.net.save_pretrained(tmp_path, max_shard_size="150KB")
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    content = json.loads(index.read_text())
    shard = content["weight_map"]["proj_out.bias"]
    kept = (tmp_path / shard).read_bytes()
    (tmp_path / shard).unlink()
    refuse(tmp_path, f"{shard}; the checkpoint is incomplete")
    (tmp_path / shard).write_bytes(kept)
    content["weight_map"]["proj_out.bias"] = "../" + shard
    index.write_text(json.dumps(content))
    refuse(tmp_path, "not a file beside it")
    del content["weight_map"]["proj_out.bias"]
    index.write_text(json.dumps(content))
    refuse(tmp_path, "disagree about proj_out.bias")


def test_a_checkpoint_of_another_kind_is_named(lean_vae, tmp_path, saved):
    save_lean_vae(lean_vae, tmp_path / "lean")
    refuse(tmp_path / "lean", "holds a LeanVAE; give a Wan transformer")
    refuse(saved, "holds a Wan transformer in the diffusers layout", load_wan_vae)


def test_sources_that_are_not_there(tmp_path):
    refuse(tmp_path / "absent", "there are no transformer weights at")
    refuse(tmp_path, "it needs diffusion_pytorch_model.safetensors or")
    refuse("bundled:tiny/absent", "this package has no weights bundled:tiny/absent")
    refuse("bundled:../../x", "this package has no weights")
    refuse("hub:no-slash", "not a hub source")
    (tmp_path / "notes.txt").write_text("x")
    refuse(tmp_path / "notes.txt", "is not a weight file we read")
    for name in ("a.pt", "b.pt"):
        torch.save({}, tmp_path / name)
    refuse(tmp_path, r"several weight files \(a.pt, b.pt\)")


def test_heads_cannot_be_guessed_for_an_odd_width(tmp_path):
    from lvis.backbone import WanTransformer

    sizes = {"num_attention_heads": 2, "attention_head_dim": 24, "num_layers": 1, "ffn_dim": 8}
    odd = WanTransformer(**sizes, text_dim=8, freq_dim=8)
    save_file(odd.net.state_dict(), tmp_path / "odd.safetensors")
    refuse(tmp_path / "odd.safetensors", "width 48 and no config")


def test_a_text_encoder_without_tokenizer_says_so(tmp_path):
    from lvis.backbone import TextEncoder

    state = TextEncoder.tiny().net.state_dict()
    state.pop("encoder.embed_tokens.weight")
    save_file(state, tmp_path / "model.safetensors")
    refuse(tmp_path, "no tokenizer beside", load_text_encoder)


def test_options_are_checked(saved):
    refuse(saved, "dtype 'float8' is not one of", dtype="float8")
    refuse(saved, "neither", weights="pretrained")
    refuse(saved, "neither", which="student")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    from lvis.weights import hub

    monkeypatch.setattr(hub, "_reachable", lambda: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_the_1_3b_model_composes_and_says_in_one_sentence_what_is_missing(offline):
    model = compose("model/wan1_3b").model
    assert model.size == [480, 832] and model.frames == 81
    parts = ("teacher", "text_encoder", "teacher_vae")
    with pytest.raises(UserError) as refusal:
        require({f"model.{part}": model[part] for part in parts})
    message = str(refusal.value)
    assert all(f"model.{part} (hub:Wan-AI/Wan2.1-T2V-1.3B-Diffusers)" in message for part in parts)
    assert "model.teacher.source=FOLDER" in message
    with pytest.raises(UserError, match="the weights of model.teacher are missing: .*cache"):
        require({"model.teacher": model.teacher})
    require({"model.teacher": {**model.teacher, "weights": "random"}})


def test_both_models_have_the_same_keys(offline):
    def outline(node):
        return {key for key in node if key not in ("dtype", "config", "variant")}

    tiny, large = (compose(f"model/{name}").model for name in ("tiny", "wan1_3b"))
    assert outline(tiny) == outline(large)
    for part in ("teacher", "text_encoder", "teacher_vae"):
        assert outline(tiny[part]) == outline(large[part])
    for vae in ("wan", "lean", "tae"):
        assert outline(tiny.vaes[vae]) == outline(large.vaes[vae])
        assert compose(f"vae/{vae}").vae.name == vae
