"""Trainings in processes of their own, with weights that take seconds to train."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_training import environment

from lvis.backbone import TextEncoder, WanTransformer
from lvis.vae import LeanVAE, WanVAE
from lvis.weights import save_lean_vae, save_text_encoder, save_transformer, save_wan_vae

MINUTES = 15 * 60


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    sizes = {"num_attention_heads": 2, "attention_head_dim": 12, "num_layers": 2, "ffn_dim": 32}
    transformer = WanTransformer(**sizes, text_dim=64, text_len=32, freq_dim=16)
    for parameter in transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    save_transformer(transformer, folder / "teacher")
    one = {"base_dim": 4, "z_dim": 16, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
    more = {"attn_scales": [], "temperal_downsample": [False, True, True]}
    save_wan_vae(WanVAE(**one, **more), folder / "wan_vae")
    lean = LeanVAE(low_width=16, high_width=16, branch_layers=1, fusion_layers=1, ista_layers=1)
    save_lean_vae(lean, folder / "lean_vae")
    save_text_encoder(TextEncoder.tiny(), folder / "text_encoder")
    return folder


@pytest.fixture
def weights(tiny_weights) -> Path:
    return tiny_weights


@pytest.fixture
def command(tiny_weights) -> Callable[..., list[str]]:
    """`python -m lvis.train` into a folder, on the CPU, with the tiny weights."""

    def build(output: Path, *overrides: str, strategy: str = "cpu") -> list[str]:
        parallel = ["trainer=cpu"]
        if strategy != "cpu":
            parallel = [f"trainer={strategy}", "trainer.accelerator=cpu", "trainer.devices=2"]
        return [
            sys.executable,
            "-m",
            "lvis.train",
            f"hydra.run.dir={output}",
            *parallel,
            f"model.teacher.source={tiny_weights / 'teacher'}",
            f"model.teacher_vae.source={tiny_weights / 'wan_vae'}",
            f"model.vaes.lean.source={tiny_weights / 'lean_vae'}",
            f"model.text_encoder.source={tiny_weights / 'text_encoder'}",
            "distill.size=[32,32]",
            "distill.frames=9",
            "distill.ratio=2",
            "distill.likelihood_only_steps=0",
            "distill.warmup_steps=0",
            "distill.autocast=none",
            "distill.teacher_dtype=float32",
            "distill.encode_dtype=float32",
            "distill.decode_dtype=float32",
            "task.operator.noise_std=0.01",
            "data.num_workers=0",
            "data.val_clips=0",
            "trainer.log_every=1",
            "trainer.save_every=2",
            "trainer.threads=1",
            "trainer.validate_every=0",
            *overrides,
        ]

    return build


@pytest.fixture
def run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command, to its end."""

    def finish(arguments: list[str], expected: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            arguments, env=environment(), capture_output=True, text=True, timeout=MINUTES
        )
        assert done.returncode == expected, done.stderr[-3000:]
        return done

    return finish
