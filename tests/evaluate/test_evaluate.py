"""An evaluation end to end: the pseudo-inverse on small synthetic clips, no weights."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from lvis.cli.config import compose
from lvis.errors import UserError
from lvis.evaluate.command import append, evaluate
from lvis.evaluate.table import read_rows

SMALL = ("solver=pinv", "task=deblur", "clips.size=[32,32]", "clips.frames=17", "clips.count=3")
SMALL += ("clips.pictures=0", "task.operator.size=9", "task.operator.sigma=1.0")
TIMED = ("seconds", "time_to_first_frame", "frames_per_second", "peak_memory_growth")


class Features(nn.Module):
    """With I3D's signature: colours at four moments."""

    def forward(
        self, video: torch.Tensor, rescale: bool, resize: bool, return_features: bool
    ) -> torch.Tensor:
        return video.mean(dim=[3, 4])[:, :, ::4].flatten(1)


@pytest.fixture(autouse=True)
def no_cached_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))


@pytest.fixture(scope="session")
def i3d(tmp_path_factory) -> tuple[str, ...]:
    path = tmp_path_factory.mktemp("i3d") / "i3d.pt"
    torch.jit.script(Features()).save(str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return (f"metric_weights.i3d.source={path}", f"metric_weights.i3d.sha256='{digest}'")


def run(output: Path, *overrides: str) -> list[dict]:
    return evaluate(compose("evaluate", [f"output={output}", *SMALL, *overrides]))


def numbers(rows: list[dict]) -> dict:
    return {
        (row["clip"], row["method"]): {k: v for k, v in row.items() if k not in (*TIMED, "config")}
        for row in rows
    }


def test_rows_have_what_the_tables_need_and_where_they_come_from(tmp_path):
    rows = run(tmp_path, "clips.pictures=1")
    assert [row["clip"] for row in rows] == ["synthetic-0", "synthetic-1", "synthetic-2"]
    row = rows[0]
    expected = {"clips", "clip", "task", "vae", "label", "solver", "method", "psnr", "ssim"}
    expected |= {"seconds", "time_to_first_frame", "frames", "size", "seed"}
    assert expected | {"residual_rms", "config", "code", "machine", "protocol"} <= set(row)
    config = json.loads((tmp_path / "configs" / f"{row['config']}.json").read_text())
    assert config["task"]["operator"]["size"] == 9
    assert row["psnr"] > 20 and row["residual_rms"] < 0.05
    assert row["lpips_vgg_224"] is None and "vgg16" in row["unmeasured"]["lpips_vgg_224"]
    table = (tmp_path / "metrics_lvis_default.md").read_text()
    assert "±" in table and "unmeasured" in table
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        "default_deblur_lean_synthetic-0.png",
        "default_deblur_lean_synthetic-0_xt.png",
    }


def test_a_second_run_computes_only_what_is_new(tmp_path):
    first = run(tmp_path, "clips.count=2")
    more = run(tmp_path)
    assert more[:2] == first and len(more) == 3
    # half a line of a crash costs that clip and no other
    results = tmp_path / "results.jsonl"
    results.write_text(results.read_text()[:-40])
    assert len(run(tmp_path)) == 3
    assert len(run(tmp_path, "task.operator.sigma=1.5")) == 6


def test_shares_of_processes_make_the_same_rows_and_the_same_frechet_distance(tmp_path, i3d):
    noisy = ("task.operator.noise_std=0.05", *i3d)
    whole = run(tmp_path / "one", *noisy)
    for rank in (1, 0):
        shared = run(tmp_path / "two", f"process={{rank: {rank}, count: 2}}", *noisy)
    assert numbers(shared) == numbers(whole)
    (one,), (two,) = (read_rows(tmp_path / name / "sets.jsonl") for name in ("one", "two"))
    assert one["clips_in_set"] == two["clips_in_set"] == 3
    assert one["fvd_i3d_16f"] == two["fvd_i3d_16f"] > 0
    assert "(3 clips)" in (tmp_path / "two" / "metrics_lvis_default.md").read_text()


def test_a_solver_told_another_blur_does_worse_and_leaves_a_residual(tmp_path):
    truth = run(tmp_path / "true")
    told = run(tmp_path / "told", "+assumed.sigma=1.4")
    assert told[0]["assumed"] == {"sigma": 1.4} and truth[0]["assumed"] is None
    for right, wrong in zip(truth, told, strict=True):
        assert wrong["psnr"] < right["psnr"] - 1
        assert wrong["residual_rms"] > 2 * right["residual_rms"]
    # told the truth in so many words, nothing changes but the record
    same = run(tmp_path / "same", "+assumed.sigma=1.0")
    assert [row["psnr"] for row in same] == [row["psnr"] for row in truth]


def test_a_solver_told_the_truth_about_a_random_mask_has_the_same_mask(tmp_path):
    base = [item for item in SMALL if "task" not in item]
    rows = {}
    for name, assumed in (("true", ()), ("told", ("+assumed.missing_share=0.5",))):
        cfg = compose("evaluate", [f"output={tmp_path / name}", *base, "task=inpaint", *assumed])
        rows[name] = evaluate(cfg)
    assert [row["psnr"] for row in rows["told"]] == [row["psnr"] for row in rows["true"]]


def test_differences_are_paired_with_the_method_asked_for(tmp_path):
    run(tmp_path)
    compare = "compare_with={method: pinv, vae: null, label: default}"
    run(tmp_path, "+assumed.sigma=1.4", "label=told", compare)
    text = (tmp_path / "differences_lvis.md").read_text()
    assert "pinv · lean · told | pinv · lean · default | 3 | -" in text


def test_a_protocol_that_scores_files_says_so_in_its_columns(tmp_path):
    row = run(tmp_path, "protocol=avis", "clips.count=1")[0]
    assert row["psnr_rgb_frame_mean_h264q23"] != row["psnr"]
    assert row["vbench_motion_smoothness_h264q23"] is None
    assert "python" in row["unmeasured"]["vbench_motion_smoothness_h264q23"]


@pytest.mark.parametrize("protocol", ["lvis", "avis", "vision_xl", "instantvir"])
def test_every_preset_names_metrics_that_exist(protocol):
    from lvis.metrics import Suite

    cfg = compose("evaluate", [f"protocol={protocol}"])
    assert Suite(cfg.protocol.metrics).columns and cfg.protocol.name == protocol


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("+assumed.sigam=3", "assumed.sigam"),
        ("process={rank: 2, count: 2}", "process.rank=2"),
        ("clips.count=0", "clips.count=0"),
        ("confidence=95", "confidence=95"),
        ("protocol.metrics=[psnr_y]", "psnr_y"),
        ("clips.frames=0", "clips.frames=0"),
        ("clips.size=[8,32]", r"clips.size=\[8,32\] must be greater than or equal to 11"),
        ("clips.size=[a,32]", r"clips.size=\[a,32\] must be a whole number"),
        ("compare_with.label=[[1,2],[3]]", "compare_with.label=.* must be text"),
        ("label=[a]", "label=.* must be text"),
        ("clips.pictures=1.5", "clips.pictures=1.5 must be a whole number"),
        ("clips.source=[]", "clips.source"),
        ("clips.source=[nowhere]", "nowhere does not exist"),
    ],
)
def test_a_wrong_value_is_one_sentence_and_leaves_nothing_behind(tmp_path, override, says):
    with pytest.raises(UserError, match=says):
        run(tmp_path / "out", override)
    assert not (tmp_path / "out" / "results.jsonl").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [(b'{"clip": "a"}\n', "without clips"), (b"[1]\n", "without clips"), (b"\xff\xfe", "not text")],
)
def test_a_results_file_of_something_else_is_named_and_kept(tmp_path, content, says):
    path = tmp_path / "results.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=says):
        run(tmp_path)
    assert path.read_bytes() == content


def test_an_output_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        run(tmp_path / "file" / "out")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_disk_that_fills_up_is_one_sentence():
    with pytest.raises(UserError, match="No space left"):
        append(Path("/dev/full"), [{"clip": "a"}])


def test_rows_of_other_settings_under_the_same_label_are_told(tmp_path, capsys):
    tv = ("solver=admm_tv", "solver.iterations=1", "clips.count=1")
    run(tmp_path, *tv)
    run(tmp_path, "clips.count=1")
    assert "other settings" not in capsys.readouterr().err
    run(tmp_path, *tv, "solver.rho=0.001")
    assert "1 other settings with label=default" in capsys.readouterr().err
    run(tmp_path, *tv, "solver.rho=0.002", "label=another")
    assert "other settings" not in capsys.readouterr().err


def test_a_clip_shorter_than_a_block_is_restored(tmp_path):
    rows = run(tmp_path, "clips.frames=4", "clips.count=1", "solver=admm_tv", "solver.iterations=1")
    assert {row["method"] for row in rows} == {"pinv", "admm_tv"}
    assert all(row["frames"] == 4 and row["psnr"] > 10 for row in rows)
