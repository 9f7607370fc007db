"""Whatever ends a training in the middle, what was trained is saved and a sentence says why."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from small_training import configuration, environment

from lvis.distill import checkpoints
from lvis.distill.losses import Losses
from lvis.distill.preemption import EXIT_REQUEUE
from lvis.distill.records import read_journal
from lvis.errors import UserError
from lvis.train.command import train

PATIENCE = 300  # seconds


@pytest.fixture
def begin() -> Iterator[Callable[[list[str]], subprocess.Popen[str]]]:
    """Starts a command in a process group of its own, of which nothing is left after the test."""
    begun: list[subprocess.Popen[str]] = []

    def start(arguments: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            arguments, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for_step(output: Path, step: int, process: subprocess.Popen[str]) -> None:
    journal = output / "metrics.jsonl"
    until = time.monotonic() + PATIENCE
    while not (journal.exists() and len(journal.read_text().splitlines()) >= step):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    return [int(line) for line in found.split()]


def saved_and_trained(output: Path) -> tuple[int, int]:
    newest = checkpoints.load_newest(output / "checkpoints")
    assert newest is not None
    return newest.counters["step"], read_journal(output / "metrics.jsonl")[-1]["step"]


def test_a_killed_worker_and_then_a_signal_to_the_group_cost_no_step(command, begin, tmp_path):
    """SIGTERM goes to the workers, too, when a scheduler or a shell ends a job."""
    endless = ("trainer.max_steps=100000", "trainer.save_every=100000", "data.num_workers=2")
    process = begin(command(tmp_path, *endless))
    wait_for_step(tmp_path, 2, process)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 2, said[-3000:]
    assert "Traceback" not in said
    assert "lvis: a process that makes clips is gone" in said.splitlines()[-1]
    saved, trained = saved_and_trained(tmp_path)
    assert saved == trained >= 2

    process = begin(command(tmp_path, *endless))
    wait_for_step(tmp_path, trained + 2, process)
    os.killpg(process.pid, signal.SIGTERM)
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == EXIT_REQUEUE, said[-3000:]
    assert "Traceback" not in said and "stopped at step" in said
    again, trained = saved_and_trained(tmp_path)
    assert again == trained >= saved + 2


def test_an_error_in_the_middle_of_a_step_saves_and_ends_in_a_sentence(
    weights, tmp_path, monkeypatch
):
    critic_term, calls = Losses.critic_term, []

    def failing(self, *arguments):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("CUDA error: unspecified launch failure\nCompile with ...")
        return critic_term(self, *arguments)

    monkeypatch.setattr(Losses, "critic_term", failing)
    cfg = configuration(weights, tmp_path, "trainer.validate_every=0", "trainer.max_steps=8")
    with pytest.raises(UserError, match="CUDA error: unspecified.* after step 3: run the same"):
        train(cfg)
    assert saved_and_trained(tmp_path) == (3, 3)
    assert "Traceback" in (tmp_path / "traceback.txt").read_text()
    metrics, _ = train(cfg)
    assert metrics["step"] == 8
