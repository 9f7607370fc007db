"""The teacher's recipe: stages follow each other from one set of weights, and an ended one is not trained again."""

import csv

import pytest
import torch
from omegaconf import OmegaConf

from lvis.pretrain.command import pretrain_prior
from lvis.weights import load_transformer

TRANSFORMER = {
    "_target_": "lvis.backbone.WanTransformer",
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 1,
    "ffn_dim": 32,
    "text_dim": 64,
    "text_len": 32,
}
BANK = {"size": [16, 16], "clips": 2, "batch_size": 2, "share": 1.0}


def stage(name: str, frames: int, steps: int) -> dict:
    rates = {"adamw_rate": 1e-3, "muon_rate": 0.02, "shift": 3.0, "ema_decay": 0.5}
    return {"name": name, "steps": steps, **rates, "banks": [{**BANK, "frames": frames}]}


@pytest.fixture
def config(tmp_path):
    part = {
        "start_from": None,
        "freeze_text": True,
        "start_text": True,
        "autocast": False,
        "text_dropout": 0.1,
        "held_out": {**BANK, "frames": 5, "seed": 99},
        "bank_folder": str(tmp_path / "latents"),
        "vae": {
            "_target_": "lvis.vae.WanVAE.from_config",
            "config": {"base_dim": 4, "z_dim": 16, "dim_mult": [1, 1, 2, 2], "num_res_blocks": 1},
        },
        "stages": [stage("images", 1, 2), stage("clips", 5, 3)],
        "transformer": TRANSFORMER,
        "text_encoder": {"_target_": "lvis.backbone.TextEncoder.tiny"},
    }
    return OmegaConf.create({"seed": 0, "part": part})


def rows(path) -> list[dict]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_stages_follow_each_other_and_an_ended_one_stays_as_it_is(config, tmp_path):
    torch.manual_seed(0)
    metrics = pretrain_prior(config, tmp_path)
    assert metrics.keys() == {"error_100", "error_500", "error_900", "prompts_help"}
    images = torch.load(tmp_path / "images" / "checkpoint.pt", weights_only=True)
    clips = torch.load(tmp_path / "clips" / "checkpoint.pt", weights_only=True)
    assert (images["step"], clips["step"]) == (2, 3)
    exported = load_transformer(str(tmp_path / "export" / "teacher"), text_len=32).state_dict()

    config.part.stages.append(stage("longer", 5, 1))
    pretrain_prior(config, tmp_path)
    assert len(rows(tmp_path / "images" / "validation.csv")) == 1
    assert len(rows(tmp_path / "clips" / "validation.csv")) == 1
    longer = torch.load(tmp_path / "longer" / "checkpoint.pt", weights_only=True)
    # the third stage began where the second ended: one warm-up step away from what was exported
    for key, weight in exported.items():
        if weight.ndim:
            assert (longer["net"][f"transformer.{key}"] - weight).abs().max() < 0.01


def test_the_banks_of_a_stage_are_its_own(config, tmp_path):
    pretrain_prior(config, tmp_path)
    banks = {path.name for path in (tmp_path / "latents").iterdir()}
    assert banks == {"2x1x16x16_seed0", "2x5x16x16_seed0", "2x5x16x16_seed99"}
