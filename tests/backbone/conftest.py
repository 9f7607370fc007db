import json
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from safetensors import safe_open

from lvis.backbone import WanTransformer

DATA = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def golden():
    """A reference file: the transformer with its weights, its tensors, its metadata."""

    def load(name):
        with safe_open(DATA / f"{name}.safetensors", "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}
            metadata = file.metadata()
        config = json.loads(metadata["config"])
        transformer = WanTransformer(
            num_attention_heads=config["num_heads"],
            attention_head_dim=config["dim"] // config["num_heads"],
            num_layers=config["num_layers"],
            ffn_dim=config["ffn_dim"],
            text_dim=config["text_dim"],
            text_len=config["text_len"],
            freq_dim=config["freq_dim"],
        )
        weights = {
            key.removeprefix("weights."): tensor
            for key, tensor in tensors.items()
            if key.startswith("weights.")
        }
        transformer.net.load_state_dict(convert_wan_transformer_to_diffusers(weights))
        return transformer.eval(), tensors, metadata

    return load


@pytest.fixture
def make_transformer():
    """A small transformer with random weights whose parts all matter to the output."""

    def make(num_layers=2, seed=0, text_len=None):
        torch.manual_seed(seed)
        transformer = WanTransformer(
            num_attention_heads=2,
            attention_head_dim=24,
            num_layers=num_layers,
            ffn_dim=64,
            text_dim=12,
            text_len=text_len,
            freq_dim=32,
        )
        for parameter in transformer.parameters():
            if parameter.ndim > 1 and parameter.shape[0] > 1:
                torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        return transformer.eval()

    return make


@pytest.fixture
def transformer(make_transformer):
    return make_transformer()


@pytest.fixture
def text():
    return torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def draw_latents():
    """Latents (B, 16, t, h, w) from a fixed seed."""

    def draw(frames, batch_size=2, height=4, width=6, seed=2):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(batch_size, 16, frames, height, width, generator=generator)

    return draw
