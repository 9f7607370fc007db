"""Weights & Biases without an account: what is written to disk to be synced later, and the report that would go."""

import ast
import json

import pytest
from rows import results_with_videos

from lvis.cli.config import compose
from lvis.errors import UserError
from lvis.report import wandb_report
from lvis.report.command import report
from lvis.report.results import load, quantities, sections
from lvis.report.wandb_report import build
from lvis.report.wandb_runs import Place, media_keys, section_key, signed_in, summary_of

TITLE = 'Bob\'s "best" runs'


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    """No credentials anywhere, and no mode chosen."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "settings"))


def place(folder, title: str = TITLE) -> Place:
    return Place(folder, "lvis", None, title, online=False)


@pytest.fixture
def specification(tmp_path):
    """What the report of two methods would send, as plain JSON, and the section that it is of."""
    pytest.importorskip("wandb_workspaces")
    rows = load(results_with_videos(tmp_path))
    found = sections(rows)
    made = build(found, quantities(rows), place(tmp_path), media=4)
    return json.loads(made._to_model().spec.model_dump_json(by_alias=True)), found[0]


def grid_of(specification: dict) -> dict:
    [grid] = [block for block in specification["blocks"] if block["type"] == "panel-grid"]
    return grid["metadata"]


def test_without_an_account_runs_are_written_offline_with_tables_and_videos(
    nobody, tmp_path, offline_run, capfd
):
    results = results_with_videos(tmp_path / "results")
    overrides = [f"results={results}", f"output={tmp_path / 'out'}", "report=wandb"]
    folder = report(compose("report", overrides))
    runs = sorted(folder.glob("offline-run-*"))
    # two methods, the measurement and the clean clip
    assert len(runs) == 4
    assert len(list(folder.glob("offline-run-*/files/media/videos/clips/*.mp4"))) == 4
    tables = [
        json.loads(path.read_text())
        for path in folder.glob("offline-run-*/files/media/table/*.table.json")
    ]
    assert [table["columns"] for table in tables] == [["clip", "psnr", "frames_per_second"]] * 2
    assert sorted(table["data"][0][1] for table in tables) == [20, 25]
    told = {run["config"]["method"]: run for run in map(offline_run, runs)}
    assert set(told) == {"pinv", "student", "measurement", "clean"}
    student = told["student"]
    assert (student["group"], student["job_type"]) == ("inpaint synthetic 9 32x48", "lvis.report")
    assert student["tags"] == ["inpaint", "synthetic", "student"]
    assert student["config"]["section"] == student["group"]
    assert student["summary"]["psnr"] == pytest.approx(25.5)
    said = " ".join(capfd.readouterr().err.split())
    assert "2 runs written to" in said
    assert said.count("the report") == 1
    assert "wandb login" in said or "pip install 'lvis[wandb]'" in said


def test_an_account_counts_unless_the_mode_says_offline(nobody, monkeypatch):
    assert not signed_in()
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert not signed_in()


def test_a_run_has_the_means_over_clips_and_a_key_of_its_section(tmp_path):
    [section] = sections(load(results_with_videos(tmp_path)))
    assert section_key(section) == "inpaint synthetic 9 32x48"
    assert summary_of(section.entries[1])["psnr"] == pytest.approx(25.5)
    # of two clips, one has videos
    assert media_keys(section, 4) == ["clips/clip-0"] and media_keys(section, 0) == []


def test_a_run_set_finds_the_runs_of_its_section_and_title_and_no_others(specification):
    spec, section = specification
    [runs] = grid_of(spec)["runSets"]
    assert runs["name"] == "inpaint, synthetic clips"
    wanted = {}

    def collect(node: dict) -> None:
        for child in node.get("filters") or []:
            collect(child)
        if "key" in node:
            assert node["key"]["section"] == "config" and node["op"] in ("=", "==")
            wanted[node["key"]["name"].removesuffix(".value")] = node["value"]

    collect(runs["filters"])
    assert wanted == {"section": section_key(section), "report": TITLE}


def test_the_best_run_comes_first_and_the_columns_are_the_methods_and_their_numbers(specification):
    [runs] = grid_of(specification[0])["runSets"]
    [key] = runs["sort"]["keys"]
    assert (key["key"]["name"], key["ascending"]) == ("psnr", False)
    feed = runs["runFeed"]
    assert feed["columnOrder"][0] == "config:method.value"
    assert {"summary:psnr", "summary:frames_per_second"} <= set(feed["columnOrder"])


def test_panels_show_what_the_runs_log_and_do_not_overlap(specification):
    spec, section = specification
    panels = grid_of(spec)["panelBankSectionConfig"]["panels"]
    kinds = [panel["viewType"] for panel in panels]
    assert kinds == ["Bar Chart", "Bar Chart", "Scatter Plot", "Media Browser"]
    bars = [metric for panel in panels[:2] for metric in panel["config"]["metrics"]]
    assert sorted(bars) == ["frames_per_second", "psnr"]
    assert set(bars) <= set(summary_of(section.entries[0]))
    scatter = panels[2]["config"]
    assert (scatter["xAxis"], scatter["yAxis"]) == ("summary:frames_per_second", "summary:psnr")
    assert panels[3]["config"]["mediaKeys"] == media_keys(section, 4)
    taken = set()
    for panel in panels:
        box = panel["layout"]
        cells = {
            (x, y)
            for x in range(box["x"], box["x"] + box["w"])
            for y in range(box["y"], box["y"] + box["h"])
        }
        assert not cells & taken and box["x"] + box["w"] <= wandb_report.GRID
        taken |= cells


def test_the_filter_is_one_expression_whatever_the_title(tmp_path):
    pytest.importorskip("wandb_workspaces")
    rows = load(results_with_videos(tmp_path))
    for title in ("plain", TITLE, "a\\b", "x' or Config('report') != 'x"):
        made = build(sections(rows), quantities(rows), place(tmp_path, title), media=0)
        [grid] = [block for block in made.blocks if hasattr(block, "runsets")]
        expression = ast.parse(grid.runsets[0].filters, mode="eval").body
        assert isinstance(expression, ast.BoolOp) and len(expression.values) == 2


def test_a_server_that_refuses_the_report_is_a_sentence(tmp_path, monkeypatch):
    reports = pytest.importorskip("wandb_workspaces.reports.v2")

    def refuse(self, *arguments, **options):
        raise ValueError("permission denied\nfor this project")

    monkeypatch.setattr(reports.Report, "save", refuse)
    rows = load(results_with_videos(tmp_path))
    here = Place(tmp_path, "lvis", "nobody", TITLE, online=True)
    with pytest.raises(UserError, match=r"did not take the report \(permission denied\); repeat"):
        wandb_report._save(sections(rows), quantities(rows), here, 0)


def test_a_title_that_is_too_long_is_refused_before_anything_is_written(tmp_path):
    rows = load(results_with_videos(tmp_path / "results"))
    with pytest.raises(UserError, match="at most 128"):
        wandb_report.publish(rows, tmp_path / "out", "x" * 129, "lvis", None, 0)
    assert not (tmp_path / "out").exists()
