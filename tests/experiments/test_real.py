"""The table of real clips: rows once, baselines without a network, gains over the best of them."""

import csv
from pathlib import Path

import pytest
import torch
from real import run, table
from real.measurements import Cell, measure
from real.methods import infill, restore

from lvis.evaluate.codec import write_clip
from lvis.operators import Identity, Inpainting

DARK = Cell("clip", "shrunk", "denoise", "0.1")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    ramp = torch.linspace(-0.8, 0.8, 224).expand(1, 3, 3, 128, 224)
    (tmp_path / "videos").mkdir()
    write_clip(tmp_path / "videos" / "ramp.mp4", ramp, quality=1)
    return tmp_path / "videos"


def test_rows_come_once_and_infilling_a_ramp_beats_its_holes(videos, tmp_path, capsys):
    arguments = ["--videos", str(videos), "--output", str(tmp_path / "out"), "--frames", "2"]
    arguments += ["--tasks", "inpaint", "sr4", "--noises", "0", "--methods", "pinv", "infill"]
    for _ in range(2):
        run.main(arguments)
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["task"], row["method"]) for row in rows] == [
        ("inpaint", "pinv"), ("inpaint", "infill"), ("sr4", "pinv"),
    ]  # fmt: skip
    assert float(rows[1]["psnr"]) > 35 > float(rows[0]["psnr"])
    assert all(row["machine"] and row["code"] and not row["weights"] for row in rows)
    assert (tmp_path / "out" / "pictures" / "shrunk_inpaint_0_ramp.jpg").is_file()


def test_a_method_that_cannot_do_a_task_leaves_the_other_rows_alone(videos, tmp_path, capsys):
    arguments = ["--videos", str(videos), "--output", str(tmp_path), "--frames", "2"]
    arguments += ["--tasks", "denoise", "--noises", "0.1", "--methods", "student", "pinv"]
    run.main([*arguments, "--set", "solver.weights=none.safetensors"])
    assert "student  left out: " in capsys.readouterr().err
    rows = (tmp_path / "results.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 2


def test_a_missing_folder_is_a_sentence_and_exit_status_2(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run.main(["--videos", str(tmp_path / "none")])
    assert stop.value.code == 2
    assert "is not a folder" in capsys.readouterr().err


def test_the_measurement_is_of_8_bits_and_its_noise_is_the_same_each_time():
    clean = torch.zeros(1, 3, 2, 128, 224)
    y = measure(Identity(noise_std=0.1), clean, DARK)
    levels = (y + 1) * 127.5
    assert torch.allclose(levels, levels.round(), atol=1e-3)
    assert float(y.std()) == pytest.approx(0.1, rel=0.05)
    assert torch.equal(y, measure(Identity(noise_std=0.1), clean, DARK))


def test_infilling_keeps_what_was_observed_and_fills_a_large_hole_from_its_rim():
    observed = torch.ones(1, 1, 1, 48, 48)
    observed[..., 14:34, 14:34] = 0
    observed[..., 0, ::2] = 0
    video = torch.full((1, 3, 1, 48, 48), 0.3)
    assert torch.allclose(infill(video * observed, observed), video, atol=1e-4)


def test_infilling_is_for_masks_only():
    from lvis.errors import UserError

    with pytest.raises(UserError, match="needs a mask"):
        restore("infill", DARK, Identity(), torch.zeros(1, 3, 1, 8, 8), ())
    assert Inpainting().missing((1, 3, 1, 8, 8)) is not None


def test_the_gain_is_over_the_better_baseline_of_the_same_clip():
    scores = {
        ("shrunk", "sr4", "0", "a"): {"pinv": 20.0, "admm_tv": 22.0, "student": 23.0},
        ("shrunk", "sr4", "0", "b"): {"pinv": 30.0, "admm_tv": 29.0, "student": 28.0},
        ("shrunk", "sr4", "0", "c"): {"pinv": 40.0},
    }
    line = table.gains(scores, "student").splitlines()[-1]
    assert line == "| shrunk | sr4 | 0 | -0.50 | -2.00 | +1.00 | -2.00 |"
    # means are over the clips that have every method
    assert (
        table.means(scores).splitlines()[-1] == "| shrunk | sr4 | 0 | 2 | 25.00 | 25.50 | 25.50 |"
    )
