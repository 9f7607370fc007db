"""A student of a few thousand parameters with random weights: the real classes, small."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image

from lvis.backbone import WanTransformer
from lvis.backbone.ddim import scaled_linear_alphas
from lvis.restore import command
from lvis.solvers import AVISSolver, StudentSolver
from lvis.solvers.lvtino import LVTINOSolver
from lvis.vae.lean import LeanVAE
from lvis.weights.resolve import BUNDLED

TEXT_DIM = 8


def tiny_transformer() -> WanTransformer:
    torch.manual_seed(0)
    transformer = WanTransformer(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=2,
        ffn_dim=32,
        text_dim=TEXT_DIM,
        text_len=4,
        freq_dim=16,
    )
    transformer.reset_parameters()
    # a velocity of zero would make the student the identity and hide its mistakes
    torch.nn.init.normal_(transformer.net.proj_out.weight, std=0.1)
    return transformer


def embed_text(prompts) -> torch.Tensor:
    return torch.ones(len(prompts), 2, TEXT_DIM)


def build_student(**settings) -> StudentSolver:
    return StudentSolver(tiny_transformer(), tiny_vae(), embed_text, **settings)


def build_avis(**settings) -> AVISSolver:
    return AVISSolver(tiny_transformer(), tiny_vae(), embed_text, **settings)


def tiny_vae() -> LeanVAE:
    return LeanVAE(
        latent_dim=16, low_width=8, high_width=8, branch_layers=1, fusion_layers=1, ista_layers=1
    )


@pytest.fixture(scope="session")
def tiny_student() -> Callable[..., StudentSolver]:
    """Makes one, with `StudentSolver`'s settings."""
    return build_student


@pytest.fixture(scope="session")
def tiny_avis() -> Callable[..., AVISSolver]:
    """Makes one, with `AVISSolver`'s settings."""
    return build_avis


class TinyFramePrior:
    """SDXL's classes with random weights and a few thousand parameters; h = H / 8."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.vae = AutoencoderKL(
            block_out_channels=(8, 8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
        ).eval()
        self.unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=8,
            attention_head_dim=4,
            norm_num_groups=4,
        ).eval()
        self.stride, self.batch_size = 16, 64
        self.alphas = scaled_linear_alphas(1000, 0.00085, 0.012)

    def encode(self, frames):
        return self.vae.encode(frames).latent_dist.mean

    def decode(self, latents):
        return self.vae.decode(latents).sample

    def noise(self, latents, timestep):
        return self.unet(latents, timestep, torch.zeros(len(latents), 1, 8)).sample

    def alpha_bar(self, timestep):
        return float(self.alphas[timestep]) if timestep >= 0 else 1.0


@pytest.fixture(scope="session")
def frame_prior() -> TinyFramePrior:
    return TinyFramePrior()


@pytest.fixture(scope="session")
def tiny_lvtino(frame_prior) -> Callable[..., LVTINOSolver]:
    """Makes one, with `LVTINOSolver`'s settings."""
    return lambda **settings: LVTINOSolver(
        tiny_transformer(), tiny_vae(), embed_text, frame_prior, **settings
    )


@pytest.fixture
def restore(tmp_path, monkeypatch, capfd) -> Callable[..., tuple[int, str, Path]]:
    """Runs lvis.restore on five frames of 32x48; returns its exit status, what it said and the output."""
    video = torch.rand(5, 4, 6, 3, generator=torch.Generator().manual_seed(0)) * 255
    for number, frame in enumerate(video.byte().numpy()):
        (tmp_path / "clip").mkdir(exist_ok=True)
        large = frame.repeat(8, axis=0).repeat(8, axis=1)
        Image.fromarray(large).save(tmp_path / "clip" / f"{number:03}.png")

    def call(*overrides: str) -> tuple[int, str, Path]:
        arguments = [f"input={tmp_path / 'clip'}", f"output={tmp_path / 'restored'}"]
        monkeypatch.setattr(sys, "argv", ["lvis.restore", "degrade=true", *arguments, *overrides])
        try:
            command.main()
        except SystemExit as end:
            return int(end.code or 0), capfd.readouterr().err, tmp_path / "restored"
        return 0, capfd.readouterr().err, tmp_path / "restored"

    return call


@pytest.fixture
def bundled_image_prior() -> None:
    """Skips where this package has no image prior."""
    if not (BUNDLED / "tiny" / "image_prior").is_dir():
        pytest.skip("the tiny image prior does not ship with this package yet")
