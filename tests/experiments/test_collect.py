"""Results files of the tables: rows of one set of weights, the newest of each thing."""

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def collect():
    path = ROOT / "experiments" / "collect.py"
    spec = importlib.util.spec_from_file_location("experiments_collect", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(clip: str, psnr: float, **more) -> dict:
    return {"clip": clip, "method": "avis", "label": "table1", "psnr": psnr, **more}


def test_rows_of_other_weights_leave_and_others_of_the_same_stay(collect):
    target = [row("a", 1, weights="old"), row("b", 2, weights="new"), row("c", 3)]
    merged = collect.merge(target, [row("a", 4)], "new")
    assert merged == [row("b", 2, weights="new"), row("a", 4, weights="new")]


def test_a_thing_measured_again_is_replaced_and_counts_once(collect):
    target = [row("a", 1, weights="new")]
    merged = collect.merge(target, [row("a", 2), row("a", 3)], "new")
    assert merged == [row("a", 3, weights="new")]
    # another label is another thing
    assert len(collect.merge(target, [row("a", 2, label="K_1")], "new")) == 2


def test_without_a_source_the_target_keeps_what_is_of_these_weights(collect, tmp_path):
    target = tmp_path / "results.jsonl"
    target.write_text(json.dumps(row("a", 1, weights="new")) + "\n")
    collect.collect(tmp_path / "nothing.jsonl", target, "new")
    assert json.loads(target.read_text()) == row("a", 1, weights="new")


def shell(script: str, output: Path) -> subprocess.CompletedProcess:
    text = f"export EXPERIMENTS_OUTPUT={output}\n. experiments/evaluation.sh\n{script}"
    return subprocess.run(["bash", "-c", text], cwd=ROOT, capture_output=True, text=True)


def test_what_ended_well_is_not_run_again_and_what_failed_is(tmp_path):
    again = "once echo hello; once echo hello; once echo world"
    assert shell(again, tmp_path).stdout.split("\n")[:4] == [
        "+ echo hello", "hello", "+ echo world", "world",
    ]  # fmt: skip
    assert shell(again, tmp_path).stdout == ""
    for _ in range(2):
        failed = shell("once false; echo not reached", tmp_path)
        assert failed.returncode != 0 and "+ false" in failed.stdout
        assert "not reached" not in failed.stdout


def test_a_solver_that_is_not_there_skips_the_table(tmp_path):
    done = shell("needs nobody_s_solver; echo not reached", tmp_path)
    assert (
        done.returncode == 0 and done.stdout == "skipped: conf/solver has no nobody_s_solver.yaml\n"
    )


def test_rows_of_the_novel_views_keep_when_and_by_what_they_were_made():
    path = ROOT / "experiments" / "avis" / "figure5" / "rows.py"
    spec = importlib.util.spec_from_file_location("figure5_rows", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = {"date": "2026-01-02", "code": "feed", "weights": "beef"}
    view = {"scene": 0, "view": "left", "holes": 0.5, "psnr": {"avis": {"all": 20.0}}}
    [row] = module.rows({"rows": [view | made]})
    assert row.items() >= made.items() and row["psnr_all"] == 20.0
    assert "date" not in module.rows({"rows": [view]})[0]
