"""Two processes (gloo, CPU) train what one does: DDP, FSDP2, accumulation, and resuming with another number of them."""

from pathlib import Path

import pytest
import torch

from lvis.distill.checkpoints import Checkpoint, load_newest
from lvis.distill.records import read_journal

# AdamW divides a gradient by its own size, so that one that is nothing but rounding moves its parameter by the whole
# learning rate; with a larger epsilon, equal gradients give equal parameters.
STEADY = (
    "distill.student_learning_rate=1e-3",
    "distill.critic_learning_rate=1e-3",
    "distill.epsilon=1e-2",
)
TOLERANCE = 1e-6


def state(output: Path) -> dict[str, torch.Tensor]:
    checkpoint = load_newest(output / "checkpoints")
    assert isinstance(checkpoint, Checkpoint)
    return checkpoint.tensors()


def difference(left: Path, right: Path) -> dict[str, float]:
    """The largest difference of any tensor, by part."""
    first, second = state(left), state(right)
    assert first.keys() == second.keys()
    found: dict[str, float] = {}
    for name in first:
        part = name.partition("/")[0]
        gap = (first[name] - second[name]).abs().max().item()
        found[part] = max(found.get(part, 0.0), gap)
    return found


def losses(output: Path) -> list[list[float]]:
    lines = [line for line in read_journal(output / "metrics.jsonl") if line["kind"] == "train"]
    return [[line["likelihood"]] if "likelihood" in line else [line["critic"]] for line in lines]


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    return tmp_path_factory.mktemp("one")


@pytest.fixture
def alone(one_process, command, run) -> Path:
    """Four steps of batch 4 in one process."""
    if not (one_process / "checkpoints").exists():
        run(command(one_process, "distill.batch_size=4", "trainer.max_steps=4", *STEADY))
    return one_process


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_equal_one(alone, command, run, tmp_path, strategy, accumulate):
    overrides = ("distill.batch_size=2", f"distill.accumulate={accumulate}", "trainer.max_steps=4")
    run(command(tmp_path, *overrides, *STEADY, strategy=strategy))
    found = difference(alone, tmp_path)
    print(strategy, accumulate, found)
    assert max(found.values()) <= TOLERANCE, found
    torch.testing.assert_close(losses(alone), losses(tmp_path), atol=TOLERANCE, rtol=TOLERANCE)
