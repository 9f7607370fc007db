"""Seconds of a later block through the tiny Wan VAE, as JSON: `PYTHONPATH=CHECKOUT python vae_steps.py`.

Uses only what every version of lvis.vae has, so that two checkouts can be compared (before_after.py).
"""

import json
import time

import torch

from lvis.weights import load_wan_vae

TIMED = 5


@torch.inference_mode()
def block_seconds() -> dict[str, list[float]]:
    """Encoding and decoding the second block (12 frames of 128 x 128), in float32 and bfloat16."""
    torch.manual_seed(0)
    first, later = (torch.rand(1, 3, frames, 128, 128) * 2 - 1 for frames in (9, 12))
    seconds: dict[str, list[float]] = {}
    for dtype in ("float32", "bfloat16"):
        vae = load_wan_vae("bundled:tiny/wan_vae", encode_dtype=dtype, decode_dtype=dtype).eval()
        latents, encoder_past = vae.encode_block(first)
        _, decoder_past = vae.decode_block(latents)
        # a state is a value, so the same block can be restored again and again
        for index in range(2 + TIMED):
            began = time.perf_counter()
            latents, _ = vae.encode_block(later, encoder_past)
            encoded = time.perf_counter()
            vae.decode_block(latents, decoder_past)
            decoded = time.perf_counter()
            if index >= 2:
                seconds.setdefault(f"encode, {dtype}", []).append(encoded - began)
                seconds.setdefault(f"decode, {dtype}", []).append(decoded - encoded)
    return seconds


if __name__ == "__main__":
    print(json.dumps(block_seconds()))
