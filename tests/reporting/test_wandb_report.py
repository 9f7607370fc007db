"""Weights & Biases without an account: what is written to disk, to be synced later."""

import json
from importlib.util import find_spec

import pytest
from rows import results_with_videos

from lvis.config import compose
from lvis.report import report
from lvis.reporting.results import load, quantities, sections
from lvis.reporting.wandb_report import build, section_key, summary_of


def test_runs_are_written_offline_with_tables_and_videos(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("WANDB_MODE", "offline")
    results = results_with_videos(tmp_path / "results")
    overrides = [f"results={results}", f"output={tmp_path / 'out'}", "report=wandb"]
    folder = report(compose("report", overrides))
    runs = sorted(folder.glob("offline-run-*"))
    # two methods, the measurement and the clean clip
    assert len(runs) == 4
    assert all(list(run.glob("*.wandb")) for run in runs)
    assert len(list(folder.glob("offline-run-*/files/media/videos/clips/*.mp4"))) == 4
    tables = [
        json.loads(path.read_text())
        for path in folder.glob("offline-run-*/files/media/table/*.table.json")
    ]
    assert [table["columns"] for table in tables] == [["clip", "psnr", "frames_per_second"]] * 2
    assert sorted(table["data"][0][1] for table in tables) == [20, 25]
    said = " ".join(capfd.readouterr().err.split())
    assert "2 runs written to" in said
    if find_spec("wandb_workspaces") is None:
        assert "pip install wandb-workspaces" in said


def test_a_run_has_the_means_over_clips_and_a_key_of_its_section(tmp_path):
    [section] = sections(load(results_with_videos(tmp_path)))
    assert section_key(section) == "inpaint synthetic 9 32x48"
    assert summary_of(section.entries[1])["psnr"] == pytest.approx(25.5)


def test_report_has_a_run_set_and_panels_for_every_section(tmp_path):
    pytest.importorskip("wandb_workspaces")
    rows = load(results_with_videos(tmp_path))
    made = build(sections(rows), quantities(rows), "title", "lvis", "nobody")
    [grid] = [block for block in made.blocks if hasattr(block, "runsets")]
    assert [runs.name for runs in grid.runsets] == ["inpaint, synthetic clips"]
    assert {type(panel).__name__ for panel in grid.panels} == {
        "BarPlot",
        "ScatterPlot",
        "MediaBrowser",
    }
