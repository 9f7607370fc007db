"""The demo's page from clip to link, with random weights of a few thousand parameters."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch

from lvis.backbone import TextEncoder, WanTransformer
from lvis.cli.config import compose
from lvis.demo.command import demo
from lvis.errors import UserError
from lvis.vae import LeanVAE, WanVAE
from lvis.weights import save_lean_vae, save_text_encoder, save_transformer, save_wan_vae


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> list[str]:
    """Overrides that put random weights in place of the bundled ones."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    transformer = WanTransformer(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        ffn_dim=32,
        text_dim=64,
        text_len=32,
        freq_dim=16,
    )
    save_transformer(transformer, folder / "teacher")
    wan = WanVAE(
        base_dim=4,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        attn_scales=[],
        temperal_downsample=[False, True, True],
    )
    save_wan_vae(wan, folder / "wan_vae")
    lean = LeanVAE(low_width=16, high_width=16, branch_layers=1, fusion_layers=1, ista_layers=1)
    save_lean_vae(lean, folder / "lean_vae")
    save_text_encoder(TextEncoder.tiny(), folder / "text_encoder")
    return [
        f"model.teacher.source={folder / 'teacher'}",
        f"model.teacher_vae.source={folder / 'wan_vae'}",
        f"model.vaes.lean.source={folder / 'lean_vae'}",
        f"model.text_encoder.source={folder / 'text_encoder'}",
        *(
            f"model.students.{task}.lean={folder / 'teacher'}"
            for task in ("inpaint", "deblur", "sr4")
        ),
    ]


def configuration(output: Path, weights: list[str], *overrides: str):
    cfg = compose("demo", [f"output={output}", "clips.frames=9", "clips.size=[32,32]", *overrides])
    cfg.overrides = weights
    return cfg


def links(page: Path) -> set[str]:
    found = re.findall(r'(?:src|href)="([^"#]+)"', page.read_text(encoding="utf-8"))
    return {unquote(link) for link in found if not link.startswith("data:")}


def test_demo_leaves_a_page_whose_files_are_all_there(tmp_path, weights):
    cfg = configuration(tmp_path / "demo", weights, "tasks=[inpaint,sr4]", "training.steps=0")
    index = demo(cfg)
    assert index == tmp_path / "demo" / "index.html"
    videos = {link for link in links(index) if link.endswith(".mp4")}
    # 2 tasks x 2 clips: measurement, D(E(y)), pinv, student, D(E(x)), clean
    assert len(videos) == 2 * 2 * 6
    assert all((index.parent / link).stat().st_size for link in links(index))


@pytest.mark.slow
def test_demo_trains_and_shows_it(tmp_path, weights):
    cfg = configuration(tmp_path / "demo", weights, "tasks=[sr4]", "training.steps=3")
    cfg.training.overrides = [
        "distill.size=[32,32]",
        "distill.frames=9",
        "distill.batch_size=1",
        "data.num_workers=0",
    ]
    for _ in range(2):  # again: the first demo's training is not resumed
        assert "3 steps" in demo(cfg).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "key, value",
    [
        ("tasks", "[]"),
        ("tasks", "[haze]"),
        ("training.steps", "-1"),
        ("clips.frames", "0"),
        ("clips.size", "[4,4]"),
        ("clips.rate", "0"),
    ],
)
def test_values_out_of_range_are_refused(tmp_path, key, value):
    with pytest.raises(UserError):
        demo(compose("demo", [f"output={tmp_path}", f"{key}={value}"]))
