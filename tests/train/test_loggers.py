"""One run of every logger per run folder, resumed or not, and per job of a sweep."""

import csv
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from small_training import configuration

from lvis.distill.records import read_journal
from lvis.distill.wandb_runs import check_online, run_id
from lvis.errors import UserError
from lvis.train.command import train

QUIET = ("trainer.validate_every=0", "trainer.save_every=1")


def trained(weights: Path, output: Path, steps: int, *overrides: str) -> None:
    more = (*QUIET, f"trainer.max_steps={steps}", *overrides)
    cfg = configuration(weights, output, *more)
    train(cfg)


def test_a_resumed_runs_csv_is_whole_and_has_the_learning_rates(weights, tmp_path):
    for steps in (2, 4):
        trained(weights, tmp_path, steps, "logger=csv", "distill.decay_steps=4")
    [path] = tmp_path.rglob("metrics.csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    rates = [row["train/student_learning_rate"] for row in rows if row["train/likelihood"]]
    assert len(rates) == 2 and float(rates[0]) == pytest.approx(3e-3)
    assert 0 < float(rates[1]) < float(rates[0])
    assert all(float(row["train/critic_learning_rate"]) == 5e-4 for row in rows)
    lines = read_journal(tmp_path / "metrics.jsonl")
    assert lines[0]["student_learning_rate"] == pytest.approx(3e-3)


def test_a_resumed_run_is_one_run_of_tensorboard(weights, tmp_path):
    for steps in (1, 2):
        trained(weights, tmp_path, steps, "logger=tensorboard")
    events = list(tmp_path.rglob("events.out.tfevents.*"))
    assert len(events) == 2 and len({path.parent for path in events}) == 1


def test_jobs_of_a_sweep_are_runs_of_their_own_and_a_resumed_one_keeps_its_id(
    weights, tmp_path, monkeypatch
):
    import wandb

    monkeypatch.setenv("WANDB_SILENT", "true")
    # as after an earlier look at W&B in this process: `offline` holds nevertheless
    monkeypatch.delenv("WANDB_MODE", raising=False)
    wandb.teardown()
    wandb.setup()
    found = []
    for name, steps in (("a", 1), ("b", 1), ("a", 2)):
        output = tmp_path / name
        cfg = configuration(weights, output, *QUIET, f"trainer.max_steps={steps}")
        cfg.logger = OmegaConf.create({
            "_target_": "lvis.distill.wandb_runs.wandb_logger",
            "project": "lvis", "save_dir": str(output), "offline": True, "tags": [], "overrides": [],
        })  # fmt: skip
        train(cfg)
        assert wandb.run is None
        found.append(run_id(output))
        [latest] = sorted(output.glob("wandb/offline-run-*"))[-1:]
        # wandb numbers folders of one run that begin in the same second
        assert re.search(rf"-{found[-1]}(-\d+)?$", latest.name)
    assert found[0] == found[2] != found[1]


def test_no_key_and_no_server_are_one_sentence_before_anything_begins(monkeypatch, tmp_path):
    import wandb

    for name in (
        "WANDB_MODE",
        "WANDB_API_KEY",
        "WANDB_IDENTITY_TOKEN_FILE",
        "https_proxy",
        "HTTPS_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(wandb, "login", lambda **_: False)
    with pytest.raises(
        UserError, match="no W&B key here: run `wandb login`, or set logger.offline"
    ):
        check_online()
    monkeypatch.setattr(wandb, "login", lambda **_: True)

    class Setup:
        settings = type("Settings", (), {"base_url": "http://127.0.0.1:9"})

    monkeypatch.setattr(wandb, "setup", Setup)
    monkeypatch.setattr("lvis.distill.wandb_runs.getproxies", dict)
    with pytest.raises(UserError, match="127.0.0.1 cannot be reached .* logger.offline=true"):
        check_online()


def test_what_is_said_at_the_end_is_there(weights, tmp_path, capsys):
    trained(weights, tmp_path, 1)
    assert f"the student is in {tmp_path / 'student'}" in capsys.readouterr().err
    (tmp_path / "student" / "lvis.json").unlink()
    trained(weights, tmp_path, 1)
    said = capsys.readouterr().err
    assert "the student is in" not in said and "raise trainer.max_steps" in said
