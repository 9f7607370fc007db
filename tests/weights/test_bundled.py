"""The weights that ship: they belong together, and a VAE is as good late in a stream as at its beginning."""

import pytest
import torch

from lvis.backbone import sample
from lvis.data import SyntheticVideos
from lvis.data.foreground import COLOURS
from lvis.metrics import psnr_frames
from lvis.vae import VideoVAE
from lvis.weights import load_lean_vae, load_text_encoder, load_transformer, load_wan_vae

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


@pytest.mark.parametrize("colour", ["red", "green", "blue"])
@torch.inference_mode()
def test_the_teacher_draws_an_object_of_the_colour_it_is_told(colour):
    """The teacher before the stage of single frames was grey here, 0.4 and more from each."""
    text_encoder = load_text_encoder("bundled:tiny/text_encoder", text_len=32)
    latents = sample(
        load_transformer("bundled:tiny/teacher", text_len=32),
        (2, 16, 1, 16, 16),
        text_encoder([f"a large {colour} disk stands still"] * 2),
        text_encoder([""] * 2),
        steps=12,
        shift=3.0,
        scale=3.0,
        generator=torch.Generator().manual_seed(0),
        eta=1.0,
    )
    frames = load_wan_vae("bundled:tiny/wan_vae").decode(latents)[:, :, 0]
    middle = frames[:, :, 48:80, 48:80].mean(dim=(0, 2, 3))
    told = torch.tensor(COLOURS[colour]) / 127.5 - 1
    assert (middle - told).abs().max() < 0.3
