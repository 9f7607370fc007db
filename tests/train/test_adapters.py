"""`distill.lora` through the command: resumed exactly, the same on two processes, exported merged."""

from pathlib import Path

import pytest
import torch
from test_two_processes import STEADY, TOLERANCE, difference, state

from lvis.distill.lora import FILE
from lvis.weights import load_student

pytest.importorskip("peft")
LORA = ("distill.lora={rank: 2, alpha: 4}", "distill.batch_size=2", "trainer.max_steps=4", *STEADY)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def alone(whole, command, run) -> Path:
    """Four steps in one process."""
    if not (whole / "checkpoints").exists():
        run(command(whole, *LORA))
    return whole


def test_an_interrupted_run_with_adapters_equals_an_uninterrupted_one(
    alone, command, run, tmp_path
):
    for steps in (2, 4):
        run(command(tmp_path, *LORA, f"trainer.max_steps={steps}"))
    saved = {name for name in state(tmp_path) if name.startswith("student/")}
    # the tiny preset zeroes the head, which is then trained whole
    whole = {f"student/net.proj_out.{kind}" for kind in ("weight", "bias")}
    assert {name for name in saved if "lora_" not in name} == whole
    assert max(difference(alone, tmp_path).values()) == 0


@pytest.mark.parametrize("strategy", ["fsdp", pytest.param("ddp", marks=pytest.mark.slow)])
def test_adapters_on_two_processes_equal_one(alone, command, run, tmp_path, strategy):
    run(command(tmp_path, *LORA, "distill.batch_size=1", strategy=strategy))
    found = difference(alone, tmp_path)
    assert max(found.values()) <= TOLERANCE, found
    first, second = (load_student(str(folder / "student"))[0] for folder in (alone, tmp_path))
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, atol=TOLERANCE, rtol=TOLERANCE)


def test_the_export_is_the_teacher_with_the_adapters_changes(alone, tiny_weights):
    student, record = load_student(str(alone / "student"))
    teacher, _ = load_student(str(tiny_weights / "teacher"))
    moved = {
        name
        for name, value in teacher.state_dict().items()
        if not torch.equal(value, student.state_dict()[name])
    }
    moved -= {f"net.proj_out.{kind}" for kind in ("weight", "bias")}
    assert moved and all(
        name.endswith(".weight") and (".attn" in name or ".ffn." in name) for name in moved
    )
    assert record["step"] == 4
    # adapters alone do not make a zeroed head
    assert not (alone / "student" / FILE).exists()
