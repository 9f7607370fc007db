"""A student trained for a moment, to show that training works."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvis.cli.config import compose
from lvis.cli.progress import say
from lvis.demo.commands import override, shell_command
from lvis.demo.pictures import write_curves
from lvis.distill.records import read_journal
from lvis.train.command import train

VALIDATIONS = 6


@dataclass(frozen=True)
class Trained:
    """What a short training did.

    Attributes:
        curves: picture of the likelihood and of the validations.
        clip: a held-out clip after the last step: measurement, D(E(y)), student, D(E(x)), clean.
        first, last, baseline: PSNR in dB on held-out clips, of the student at the first and at the
            last validation and of D(E(y)).
    """

    task: str
    command: str
    steps: int
    seconds: float
    curves: Path
    clip: Path
    first: float
    last: float
    baseline: float


def train_for(
    seconds: float,
    first_steps: int,
    max_steps: int,
    task: str,
    vae_name: str,
    seed: int,
    folder: Path,
    overrides: list[str],
) -> Trained:
    """Train a student in about `seconds`: the first steps are timed, then as many follow as fit.

    The second part resumes the first, which gives bit for bit what one run of all steps gives.

    Raises:
        UserError: whatever `lvis.train.command.train` finds wrong.
        SystemExit: a signal ended the training.
    """
    run = folder / "run"
    # a run that is there already would be resumed, and there would be nothing left to show
    if (run / "metrics.jsonl").exists():
        shutil.rmtree(run)
    chosen = [
        override("task", task),
        override("vae", vae_name),
        override("seed", seed),
        override("output", run),
        "data.val_clips=2",
        "trainer.validation_clips=1",
        "trainer.log_every=1",
        *overrides,
    ]
    began = time.perf_counter()

    def until(step: int, validate_every: int) -> list[dict[str, Any]]:
        steps = [f"trainer.max_steps={step}", f"trainer.validate_every={validate_every}"]
        _, objects = train(compose("train", chosen + steps))
        if objects["exit_code"]:
            raise SystemExit(objects["exit_code"])
        return read_journal(run / "metrics.jsonl")

    every = max(1, first_steps)
    steps = first_steps
    journal = until(steps, every)
    fitting = steps_that_fit(journal, seconds, time.perf_counter() - began, max_steps)
    if fitting > steps:
        steps = fitting
        every = max(1, steps // VALIDATIONS)
        say(f"{steps} steps fit into {seconds:.0f} s")
        journal = until(steps, every)
    validations = [line for line in journal if line["kind"] == "validation"]
    last = validations[-1]
    return Trained(
        task,
        shell_command(
            "lvis.train", [*chosen, f"trainer.max_steps={steps}", f"trainer.validate_every={every}"]
        ),
        steps,
        time.perf_counter() - began,
        write_curves(journal, folder / "training.png"),
        run / "validation" / f"step_{last['step']:08d}_clip_0.mp4",
        validations[0]["student_psnr"],
        last["student_psnr"],
        last["baseline_psnr"],
    )


def steps_that_fit(
    journal: list[dict[str, Any]], seconds: float, spent: float, max_steps: int
) -> int:
    """Steps to train in all, when those in the journal and their start-up took `spent` seconds.

    The pace is that of all steps but the first, which also warms up; resuming starts up once more.
    """
    steps = [line["seconds"] for line in journal if line["kind"] == "train"]
    pace = sum(steps[1:]) / (len(steps) - 1)
    left = seconds - spent - (spent - sum(steps))
    return max(len(steps), min(max_steps, len(steps) + int(left / pace)))
