"""The weights that ship: they belong together, and a VAE is as good late in a stream as at its beginning."""

import pytest
import torch

from lvis.data import SyntheticVideos
from lvis.metrics import psnr_frames
from lvis.vae import VideoVAE
from lvis.weights import load_lean_vae, load_transformer, load_wan_vae

PARTS = ["teacher", "prior"] + [
    f"student_{task}_{vae}" for task in ("inpaint", "deblur", "sr4") for vae in ("wan", "lean")
]


@pytest.mark.parametrize("part", PARTS)
def test_every_transformer_loads(part):
    assert load_transformer(f"bundled:tiny/{part}", text_len=32).net.config.num_layers == 7


@pytest.mark.parametrize(
    "vae",
    [lambda: load_wan_vae("bundled:tiny/wan_vae"), lambda: load_lean_vae("bundled:tiny/lean_vae")],
    ids=["wan", "lean"],
)
@torch.inference_mode()
def test_late_frames_are_near_early_ones(vae):
    """A decoder trained on clips of 13 frames lost 6 dB here; what a clip shows varies by 2."""
    model: VideoVAE = vae()
    clips = SyntheticVideos(1000003, 45, (64, 64), "val", length=4)
    video = torch.stack([clips[index]["video"] for index in range(4)])
    scores = psnr_frames(model.decode(model.encode(video)), video)
    early, late = scores[:, 1:13].mean(), scores[:, 33:45].mean()
    assert late > early - 3.0
