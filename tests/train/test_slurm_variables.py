"""A SLURM job with other tasks than the run needs is refused, not trained on one process or left waiting."""

import pytest

from lvis.cli.config import compose
from lvis.errors import UserError
from lvis.train.settings import check

TWO = ("trainer.devices=2", "trainer.strategy=ddp")


def of_a_job(monkeypatch, **variables: str) -> None:
    for name in ("SLURM_NTASKS", "SLURM_NNODES", "SLURM_NTASKS_PER_NODE", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)


@pytest.mark.parametrize(
    ("variables", "overrides", "said"),
    [
        ({"NTASKS": "2"}, (), "SLURM_NTASKS=2 and trainer.devices=1 do not agree"),
        ({"NTASKS": "1"}, TWO, "SLURM_NTASKS=1 and trainer.devices=2 do not agree"),
        ({"NTASKS": "2", "NNODES": "2", "NTASKS_PER_NODE": "1"}, TWO, "SLURM_NNODES=2 and trainer.num_nodes=1"),
        ({"NTASKS": "2"}, TWO, "--ntasks-per-node=2 instead of --ntasks"),
        ({"NTASKS": "2", "NTASKS_PER_NODE": "1(x2)"}, TWO, "SLURM_NTASKS_PER_NODE=1 and"),
    ],
)  # fmt: skip
def test_tasks_that_disagree_are_refused(monkeypatch, variables, overrides, said):
    of_a_job(monkeypatch, **variables)
    with pytest.raises(UserError) as error:
        check(compose("train", ["output=nowhere", *overrides]))
    assert said in str(error.value) and "--ntasks-per-node" in str(error.value)


@pytest.mark.parametrize(
    ("variables", "overrides"),
    [
        ({}, TWO),
        ({"NTASKS": "1", "NNODES": "1"}, ()),
        ({"NTASKS": "2", "NNODES": "1", "NTASKS_PER_NODE": "2"}, TWO),
        ({"NTASKS": "4", "NNODES": "2", "NTASKS_PER_NODE": "2(x2)"}, (*TWO, "trainer.num_nodes=2")),
    ],
)
def test_tasks_that_agree_pass(monkeypatch, variables, overrides):
    of_a_job(monkeypatch, **variables)
    check(compose("train", ["output=nowhere", *overrides]))
