"""A job of a sweep that fails costs the others nothing, and the exit status counts."""

import sys

import pytest
from hydra.core.global_hydra import GlobalHydra

from lvis.cli.config import EXIT_USER_ERROR, entry
from lvis.errors import UserError


@pytest.fixture
def sweep(tmp_path, monkeypatch, capsys):
    """Runs `task` for each seed; returns the seeds that it saw, the exit status and what was said."""

    def run(task, *arguments: str):
        seen = []

        def noted(cfg):
            seen.append(cfg.seed)
            return task(cfg)

        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["lvis", "output=out", *arguments])
        GlobalHydra.instance().clear()
        status = 0
        try:
            entry("evaluate")(noted)()
        except SystemExit as end:
            status = end.code
        return seen, status, capsys.readouterr().err

    return run


def fails_at(*seeds: int, error: type[Exception] = UserError):
    def task(cfg):
        if cfg.seed in seeds:
            raise error(f"seed {cfg.seed} cannot be")

    return task


def test_the_rest_of_a_sweep_runs_and_the_status_says_how_many_failed(sweep):
    seen, status, said = sweep(fails_at(1, 3), "-m", "seed=0,1,2,3,4")
    assert (seen, status) == ([0, 1, 2, 3, 4], 2)
    assert "lvis: seed 1 cannot be\n" in said and "lvis: 2 of 5 jobs failed\n" in said
    assert "Traceback" not in said


def test_a_defect_in_one_job_is_shown_and_counted(sweep):
    seen, status, said = sweep(fails_at(0, error=KeyError), "-m", "seed=0,1")
    assert (seen, status) == ([0, 1], 1)
    assert "KeyError" in said and "1 of 2 jobs failed" in said


def test_a_sweep_without_failures_and_a_single_job_end_as_ever(sweep):
    assert sweep(fails_at(), "-m", "seed=0,1")[:2] == ([0, 1], 0)
    assert sweep(fails_at(1), "seed=1")[:2] == ([1], EXIT_USER_ERROR)


def test_a_signal_ends_all_of_a_sweep(sweep):
    def task(cfg):
        raise SystemExit(75)

    assert sweep(task, "-m", "seed=0,1")[:2] == ([0], 75)
