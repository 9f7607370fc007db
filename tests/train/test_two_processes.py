"""Two processes (gloo, CPU) train what one does: DDP, FSDP2, accumulation, and resuming with another number of them."""

from pathlib import Path

import pytest
import torch

from lvis.distill.checkpoints import Checkpoint, best_of, load_newest
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


SLOW = pytest.mark.slow
COMBINATIONS = [
    ("ddp", 1),
    ("fsdp", 2),
    pytest.param("ddp", 2, marks=SLOW),
    pytest.param("fsdp", 1, marks=SLOW),
]


@pytest.mark.parametrize(("strategy", "accumulate"), COMBINATIONS)
def test_two_processes_equal_one(alone, command, run, tmp_path, strategy, accumulate):
    overrides = ("distill.batch_size=2", f"distill.accumulate={accumulate}", "trainer.max_steps=4")
    run(command(tmp_path, *overrides, *STEADY, strategy=strategy))
    found = difference(alone, tmp_path)
    assert max(found.values()) <= TOLERANCE, found
    torch.testing.assert_close(losses(alone), losses(tmp_path), atol=TOLERANCE, rtol=TOLERANCE)
    if strategy == "fsdp":
        shards = list((tmp_path / "checkpoints" / "step_00000004").glob("*.safetensors"))
        assert len(shards) == 2


@pytest.mark.parametrize("strategy", ["fsdp", pytest.param("ddp", marks=SLOW)])
def test_two_processes_that_share_each_clip_equal_one(alone, command, run, tmp_path, strategy):
    overrides = ("distill.batch_size=4", "trainer.sequence_parallel=2", "trainer.max_steps=2")
    run(command(tmp_path, *overrides, *STEADY, strategy=strategy))
    # resumed by two processes that do not: the counter of clips is that of one process
    rest = ("distill.batch_size=2", "trainer.max_steps=4")
    run(command(tmp_path, *rest, *STEADY, strategy=strategy))
    found = difference(alone, tmp_path)
    assert max(found.values()) <= TOLERANCE, found
    torch.testing.assert_close(losses(alone), losses(tmp_path), atol=TOLERANCE, rtol=TOLERANCE)


def test_what_two_processes_saved_one_goes_on_with(alone, command, run, tmp_path):
    """FSDP2's shared-out checkpoint, resumed by one process whose clips come from two workers."""
    first = ("distill.batch_size=2", "trainer.max_steps=2")
    run(command(tmp_path, *first, *STEADY, strategy="fsdp"))
    then = ("distill.batch_size=4", "trainer.max_steps=4", "data.num_workers=2")
    run(command(tmp_path, *then, *STEADY))
    found = difference(alone, tmp_path)
    assert max(found.values()) <= TOLERANCE, found
    torch.testing.assert_close(losses(alone), losses(tmp_path), atol=TOLERANCE, rtol=TOLERANCE)


def validations(output: Path) -> list[dict]:
    lines = read_journal(output / "metrics.jsonl")
    return [line for line in lines if line["kind"] == "validation"]


@SLOW
@pytest.mark.parametrize("clips", [1, 3])
def test_two_processes_validate_as_one_does_when_the_clips_do_not_divide(
    command, run, tmp_path, clips
):
    options = (f"data.val_clips={clips}", "trainer.validate_every=1", "trainer.max_steps=2")
    options += ("trainer.save_every=50", "distill.student_learning_rate=1e-3")
    run(command(tmp_path / "one", "distill.batch_size=2", *options, *STEADY))
    run(command(tmp_path / "two", "distill.batch_size=1", *options, *STEADY, strategy="fsdp"))
    one, two = validations(tmp_path / "one"), validations(tmp_path / "two")
    assert len(one) == len(two) == 2
    for first, second in zip(one, two, strict=True):
        assert first.keys() == second.keys() and "student_psnr" in first
        assert all(abs(first[k] - second[k]) < 1e-4 for k in first if k != "kind"), (first, second)
    assert best_of(tmp_path / "two" / "checkpoints")


@pytest.mark.parametrize("strategy", [pytest.param("ddp", marks=SLOW), "fsdp"])
def test_an_interrupted_run_of_two_equals_an_uninterrupted_one(command, run, tmp_path, strategy):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(command(whole, "distill.batch_size=1", "trainer.max_steps=3", strategy=strategy))
    for steps, workers in ((1, 0), (3, 2)):
        overrides = (f"trainer.max_steps={steps}", f"data.num_workers={workers}")
        run(command(parts, "distill.batch_size=1", *overrides, strategy=strategy))
    assert max(difference(whole, parts).values()) == 0
    assert losses(whole) == losses(parts)


@SLOW
def test_rollouts_on_two_processes_equal_one(command, run, tmp_path):
    """FSDP2 has to gather the transformer's parameters for each block of a rollout, too."""
    rolled = ("distill.rollout_blocks=2", "distill.block_size=1", "trainer.max_steps=3", *STEADY)
    run(command(tmp_path / "one", "distill.batch_size=2", *rolled))
    run(command(tmp_path / "two", "distill.batch_size=1", *rolled, strategy="fsdp"))
    found = difference(tmp_path / "one", tmp_path / "two")
    assert max(found.values()) <= TOLERANCE, found
