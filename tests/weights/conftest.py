"""Small real models and the manifests of real checkpoints."""

import gzip
import json
from pathlib import Path

import pytest
import torch

from lvis.backbone import WanTransformer
from lvis.vae.lean import LeanVAE
from lvis.vae.wan import WanVAE

DATA = Path(__file__).parents[1] / "fixtures"

# head_dim 128, so that shapes alone tell the sizes
WIDE = {
    "num_attention_heads": 1,
    "attention_head_dim": 128,
    "num_layers": 2,
    "ffn_dim": 64,
    "text_dim": 24,
    "freq_dim": 32,
}
SMALL_VAE = {"base_dim": 8, "z_dim": 16, "num_res_blocks": 1}


@pytest.fixture(scope="session")
def manifests():
    """Key names and shapes of ten published layouts: name -> {key: tensor on the meta device}."""
    listed = json.loads(gzip.decompress((DATA / "checkpoint_keys.json.gz").read_bytes()))
    return {
        name: {key: torch.empty(shape, device="meta") for key, shape in keys.items()}
        for name, keys in listed.items()
    }


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    return WanTransformer(**WIDE, text_len=8)


@pytest.fixture
def wan_vae():
    torch.manual_seed(0)
    mean = torch.linspace(-1, 1, 16).tolist()
    std = torch.linspace(0.5, 2, 16).tolist()
    return WanVAE(**SMALL_VAE, latents_mean=mean, latents_std=std)


@pytest.fixture
def lean_vae():
    torch.manual_seed(0)
    return LeanVAE(
        low_width=8, high_width=12, ista_iter_num=3, latents_mean=[0.1] * 16, latents_std=[2.0] * 16
    )


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's lock file."""
    monkeypatch.setenv("LVIS_CACHE", str(tmp_path / "cache"))
