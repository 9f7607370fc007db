"""What tests of several folders share."""

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BLOCK = 32768  # of LevelDB's log format, in which a .wandb file is written after 7 bytes of its own
LAST_PARTS = (1, 4)  # a whole record, and the end of one in parts


def pytest_configure() -> None:
    # W&B's own process has half a minute to begin, which a busy machine may not give it
    os.environ.setdefault("WANDB_X_SERVICE_WAIT", "300")
    os.environ.setdefault("WANDB_INIT_TIMEOUT", "300")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fuzz", "tests/fuzz")
    group.addoption("--fuzz-seed", type=int, help="of the cases; drawn and printed where not given")
    group.addoption("--fuzz-count", type=int, help="cases per test; each has its own default")
    group.addoption("--fuzz-table", help="folder for the tables of outcomes")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Every test draws the same random numbers, whichever tests ran before it."""
    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def offline_run() -> Callable[[Path], dict]:
    """Reads what an offline run's folder would send: its name, group, job_type, tags and config.

    wandb has no public reader of its file; this one goes by the file's format.
    """
    return _offline_run


def _offline_run(folder: Path, patience: float = 240.0) -> dict:
    """What the run's file says, once W&B's own process, which outlives the run, has written its end."""
    until = time.monotonic() + patience
    while True:
        found = [_read_run(path) for path in folder.glob("*.wandb")]
        if found and "exit" in found[0]["kinds"]:
            return found[0]
        assert time.monotonic() < until, f"{folder} has no run that has ended"
        time.sleep(0.1)


def _read_run(path: Path) -> dict:
    import json

    from wandb.proto import wandb_internal_pb2

    found: dict = {"config": {}, "summary": {}, "kinds": set()}
    for payload in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(payload)
        kind = record.WhichOneof("record_type")
        found["kinds"].add(kind)
        if kind == "run":
            run = record.run
            found |= {"name": run.display_name, "group": run.run_group, "job_type": run.job_type}
            found["tags"] = list(run.tags)
        if kind in ("run", "config"):
            updates = record.run.config.update if kind == "run" else record.config.update
            for item in updates:
                found["config"][item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
        if kind == "summary":
            for item in record.summary.update:
                found["summary"][item.key or ".".join(item.nested_key)] = json.loads(
                    item.value_json
                )
    return found


def _records(data: bytes) -> Iterator[bytes]:
    place, parts = 7, b""
    while place + 7 <= len(data):
        left = BLOCK - place % BLOCK
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        if place + 7 + length > len(data):
            return
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in LAST_PARTS:
            yield parts
            parts = b""
