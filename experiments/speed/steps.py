"""Seconds of a transformer step against a full cache, as JSON: `PYTHONPATH=CHECKOUT python steps.py`.

Uses only what every version of lvis.backbone has, so that two checkouts can be compared (before_after.py).
"""

import json
import time

import torch

from lvis.backbone import WanTransformer

# name: (width, channels a head, sides of the latents, timed steps)
MODELS = {
    "tiny (width 128, 7 layers, 128x128)": (128, 32, 16, 60),
    "mid-size (width 512, 7 layers, 128x128)": (512, 64, 16, 15),
    "mid-size (width 512, 7 layers, 64x64)": (512, 64, 8, 40),
}


@torch.inference_mode()
def step_seconds(width: int, head_dim: int, side: int, steps: int) -> list[float]:
    torch.manual_seed(0)
    transformer = WanTransformer(
        num_attention_heads=width // head_dim,
        attention_head_dim=head_dim,
        num_layers=7,
        ffn_dim=3 * width,
        text_dim=64,
        text_len=32,
    ).eval()
    cache = transformer.open_cache(1, (side, side), torch.randn(1, 32, 64))
    latents, timestep = torch.randn(1, 16, 3, side, side), torch.full((1,), 522.0)
    seconds = []
    for index in range(8 + steps):
        began = time.perf_counter()
        transformer.step(latents, timestep, cache)
        if index >= 8:  # the window of 21 latent frames is full, and everything is warm
            seconds.append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    print(json.dumps({name: step_seconds(*model) for name, model in MODELS.items()}))
