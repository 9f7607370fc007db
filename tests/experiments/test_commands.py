"""`make experiments` without the work: every command that any run.sh would run composes to a configuration."""

import os
import subprocess
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from lvis.cli.config import compose

ROOT = Path(__file__).resolve().parents[2]
# those of the tables and figures; the others make no rows
SCRIPTS = [
    path
    for path in sorted((ROOT / "experiments").glob("**/run.sh"))
    if "evaluation.sh" in path.read_text(encoding="utf-8")
]


@pytest.fixture(scope="module")
def commands(tmp_path_factory) -> list[list[str]]:
    """The arguments of every call of the interpreter, by all run.sh in one go."""
    folder = tmp_path_factory.mktemp("commands")
    log, stub = folder / "log", folder / "python"
    # an argument a line, an empty line after each command; "~" in front keeps empty arguments apart from it
    stub.write_text(f"#!/bin/sh\n{{ printf '~%s\\n' \"$@\"; echo; }} >> '{log}'\n")
    stub.chmod(0o755)
    told = {"PYTHON": str(stub), "EXPERIMENTS_OUTPUT": str(folder / "out"), "REAL_CLIPS": "a.mp4,b"}
    told |= {"WEIGHTS_DIGEST": "none"}
    done = subprocess.run(
        ["experiments/all.sh"], cwd=ROOT, env=os.environ | told, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert all(f"== {path.relative_to(ROOT)}" in done.stdout for path in SCRIPTS)
    calls = log.read_text().removesuffix("\n\n").split("\n\n")
    return [[line.removeprefix("~") for line in call.splitlines()] for call in calls]


def first_of_each_sweep(arguments: list[str]) -> list[str]:
    found = []
    for override in OverridesParser.create().parse_overrides(arguments):
        if override.is_sweep_override():
            value = next(iter(override.sweep_string_iterator()))
            found.append(f"{override.get_key_element()}={value}")
        else:
            found.append(override.input_line)
    return found


def without_sweeps(arguments: list[str]) -> list[str]:
    parsed = OverridesParser.create().parse_overrides(arguments)
    return [one.input_line for one in parsed if not one.is_sweep_override()]


def test_every_multirun_composes_before_its_jobs(commands):
    """Hydra composes what is not swept first, with the defaults in place of what is."""
    entries = {(c[1], *without_sweeps(c[3:])) for c in commands if c[0] == "-m" and c[2] == "-m"}
    assert len(entries) > 20
    for entry, *overrides in entries:
        kept = [word for word in overrides if not word.startswith("hydra.")]
        compose(entry.removeprefix("lvis."), kept)


def test_every_command_composes(commands):
    entries = [c for c in commands if c[0] == "-m" and c[1] in ("lvis.evaluate", "lvis.train")]
    assert len(entries) > 20
    unique = {tuple(first_of_each_sweep([w for w in c[2:] if w != "-m"])): c[1] for c in entries}
    for overrides, entry in unique.items():
        name = entry.removeprefix("lvis.")
        # hydra's own keys exist only where it launches
        kept = [word for word in overrides if not word.startswith("hydra.")]
        cfg = compose(name, kept)
        assert cfg.task.name


def test_what_several_tables_share_runs_once(commands):
    evaluations = [tuple(c) for c in commands if "lvis.evaluate" in c]
    assert len(evaluations) == len(set(evaluations))


def test_every_collected_file_is_one_that_a_table_reads(commands):
    targets = {c[2] for c in commands if c[0] == "experiments/collect.py"}
    read = set()
    for path in (ROOT / "experiments").glob("**/config.yaml"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("results:"):
                names = line.partition("[")[2].rstrip("]").split(",")
                read |= {os.path.normpath(path.parent / name.strip()) for name in names}
    assert {str(ROOT / target) for target in targets} <= read
    assert (ROOT / "experiments/avis/results.jsonl").is_file()


def test_the_readmes_are_written_last(commands):
    assert commands[-1] == ["experiments/render.py"]
