"""Faults of a training: what is done to it, and what came of it.

A scenario takes a folder with weights and a folder of its own, hurts one run, continues it with the same command, and
says what happened. It raises AssertionError when that is not what should happen.
"""

import os
import random
import signal
import time
from pathlib import Path

import data_scenarios
import training as t
import untrusted_scenarios
from promised import USER_ERROR, Outcome, Scenario

from lvis.distill.preemption import EXIT_REQUEUE


def reference(weights: Path, folder: Path, *overrides: str, strategy: str = "cpu") -> Path:
    """An undisturbed run of the same configuration, made once a folder."""
    output = folder.parent / f"undisturbed_{strategy}{'_'.join(overrides)}".replace("=", "-")
    if not (output / "done").exists():
        ended = t.run(t.command(weights, output, *overrides, strategy=strategy))
        assert ended.status == 0, ended.said[-2000:]
        (output / "done").touch()
    return output


def _continue(weights: Path, output: Path, *overrides: str, strategy: str = "cpu") -> int:
    """The same command again, to its end; returns the step it went on from."""
    begun = t.newest(output).counters["step"]
    ended = t.run(t.command(weights, output, *overrides, strategy=strategy))
    assert ended.status == 0, ended.said[-2000:]
    return begun


def killed_while_saving(weights: Path, folder: Path) -> Outcome:
    """kill -9 as soon as the unfinished folder of a checkpoint shows, or a moment later."""
    output, options = folder / "run", ("trainer.save_every=1",)
    expected = reference(weights, folder, *options)
    process = t.start(t.command(weights, output, *options))
    t.wait_for_step(output, 2, process)
    began = time.monotonic()
    while not list((output / "checkpoints").glob(".partial_*")) and process.poll() is None:
        assert time.monotonic() - began < t.PATIENCE
        time.sleep(0.001)
    time.sleep(random.random() * 0.01)
    process.kill()
    process.communicate()
    done = t.steps_done(output)
    begun = _continue(weights, output, *options)
    assert t.same_tensors(output, expected)
    left = [path.name for path in (output / "checkpoints").iterdir() if ".partial" in path.name]
    assert not left, left
    return Outcome(f"resumed at step {begun}; the end equals the undisturbed run's", done - begun)


def killed_rank(weights: Path, folder: Path) -> Outcome:
    """kill -9 of the second of two processes."""
    output = folder / "run"
    expected = reference(weights, folder, strategy="ddp")
    process = t.start(t.command(weights, output, "trainer.max_steps=2000", strategy="ddp"))
    t.wait_for_step(output, 3, process)
    (rank,) = t.children(process.pid)
    os.kill(rank, signal.SIGKILL)
    ended = t.finish(process)
    done = t.steps_done(output)
    assert ended.status not in (0, None), ended
    begun = _continue_to_the_end(weights, output, expected, done)
    return Outcome(f"the other ended with status {ended.status}, {_heard(ended)}", done - begun)


def signal_to_one_rank(weights: Path, folder: Path, kind: str = "term") -> Outcome:
    """SIGTERM or SIGUSR1 to the second of two processes."""
    output = folder / "run"
    expected = reference(weights, folder, strategy="ddp")
    ended = t.run(t.command(weights, output, t.FAULTY, strategy="ddp"), fault=f"{kind}@3@1")
    assert ended.status == EXIT_REQUEUE, (ended.status, ended.said[-2000:])
    saved = t.newest(output).counters["step"]
    assert saved in (3, 4), saved
    begun = _continue(weights, output, t.FAULTY, strategy="ddp")
    assert t.same_tensors(output, expected)
    return Outcome(
        f"both saved at step {saved} and ended with status {ended.status}", saved - begun
    )


def signal_usr1(weights: Path, folder: Path) -> Outcome:
    """SIGUSR1, as SLURM sends before it takes a node back."""
    return signal_to_one_rank(weights, folder, "usr1")


def nan_on_one_rank(weights: Path, folder: Path) -> Outcome:
    """One clip of NaN on the second of two processes."""
    output = folder / "run"
    ended = t.run(t.command(weights, output, t.FAULTY, strategy="ddp"), fault="nan@3@1")
    assert ended.status == 0, ended.said[-2000:]
    tensors = t.newest(output).tensors()
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    moved = [value.item() for name, value in tensors.items() if name.endswith("/step")]
    assert max(moved) == t.STEPS - 1, max(moved)  # the critic's, but for the step with NaN
    return Outcome("no process took that step, and the training went on", 0)


def nan_for_ever(weights: Path, folder: Path) -> Outcome:
    """Every clip from step 3 is NaN on the second of two processes."""
    output = folder / "run"
    command = t.command(weights, output, t.FAULTY, "trainer.max_steps=40", strategy="ddp")
    ended = t.run(command, fault="nans@3@1")
    sentence = t.last_sentence(ended.said)
    assert ended.status == USER_ERROR and "not finite" in sentence, (
        ended.status,
        ended.said[-800:],
    )
    assert all(tensor.isfinite().all() for tensor in t.newest(output).tensors().values())
    return Outcome("both ended with status 2 and one sentence; the weights are those before", 0)


def leap(weights: Path, folder: Path) -> Outcome:
    """The likelihood leaps after 12 updates of the student, with trainer.spike_factor set."""
    output = folder / "run"
    options = (t.FAULTY, "trainer.spike_factor=10", "distill.ratio=1", "trainer.max_steps=16")
    ended = t.run(t.command(weights, output, *options), fault="leap@13")
    assert ended.status == 0, ended.said[-2000:]
    assert "went back to the weights of step 12" in ended.said, ended.said[-800:]
    assert len(t.losses(output)) == 16
    return Outcome("went back to the last checkpoint's weights, and on with other clips", 1)


def full_disk(weights: Path, folder: Path) -> Outcome:
    """No room for a checkpoint from step 3 on, until step 5."""
    output = folder / "run"
    expected = reference(weights, folder)
    ended = t.run(t.command(weights, output, t.FAULTY), fault="full@3,roomy@5")
    assert ended.status == 0, ended.said[-2000:]
    assert "goes on without this checkpoint" in ended.said, ended.said[-800:]
    assert t.same_tensors(output, expected)
    return Outcome("went on without that checkpoint; the earlier one was intact", 0)


def disk_full_to_the_end(weights: Path, folder: Path) -> Outcome:
    """No room from step 3 on."""
    output = folder / "run"
    expected = reference(weights, folder)
    ended = t.run(t.command(weights, output, t.FAULTY), fault="full@3")
    sentence = t.last_sentence(ended.said)
    assert ended.status == USER_ERROR and "cannot write" in sentence, (ended.status, ended.said)
    assert t.newest(output).counters["step"] == 2
    begun = _continue(weights, output, t.FAULTY)
    assert t.same_tensors(output, expected)
    return Outcome("ended with status 2 and one sentence; continued when there was room", 6 - begun)


def newest_is_damaged(weights: Path, folder: Path) -> Outcome:
    """One bit of the newest checkpoint flips."""
    output = folder / "run"
    expected = reference(weights, folder)
    ended = t.run(t.command(weights, output, "trainer.max_steps=4"))
    assert ended.status == 0, ended.said[-2000:]
    path = t.newest(output).folder / "shard_00000.safetensors"
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)
    begun = _continue(weights, output)
    assert begun == 2 and t.same_tensors(output, expected)
    return Outcome("went on from the checkpoint before it", 4 - begun)


def no_memory_for_validation(weights: Path, folder: Path) -> Outcome:
    """Validation clips that no memory holds."""
    output = folder / "run"
    expected = reference(weights, folder)
    command = t.command(weights, output, t.FAULTY, "trainer.validate_every=3")
    ended = t.run(command, fault="huge@0")
    assert ended.status == 0, ended.said[-2000:]
    assert "validation ran out of memory and was left out" in ended.said, ended.said[-800:]
    assert t.same_tensors(output, expected)
    return Outcome("that validation was left out, and the training went on", 0)


def _continue_to_the_end(weights: Path, output: Path, expected: Path, done: int) -> int:
    """Like `_continue`, where the hurt run was meant to go further than the undisturbed one."""
    begun = t.newest(output).counters["step"]
    steps = max(t.STEPS, begun)
    option = f"trainer.max_steps={steps}"
    ended = t.run(t.command(weights, output, option, strategy="ddp"))
    assert ended.status == 0, ended.said[-2000:]
    if steps == t.STEPS:
        assert t.same_tensors(output, expected)
    known = dict(t.losses(expected))
    again = {step: loss for step, loss in t.losses(output) if step in known}
    assert again == known, (again, known)
    return begun


def _heard(ended: t.Ended) -> str:
    return "with one sentence" if t.last_sentence(ended.said) else "with a traceback"


SCENARIOS: dict[str, tuple[str, Scenario]] = {
    "killed_while_saving": ("kill -9 during a save", killed_while_saving),
    "killed_rank": ("kill -9 of one of two processes", killed_rank),
    "term_to_one_rank": ("SIGTERM to one of two processes", signal_to_one_rank),
    "usr1_to_one_rank": ("SIGUSR1 to one of two processes", signal_usr1),
    "nan_on_one_rank": ("NaN on one of two processes, once", nan_on_one_rank),
    "nan_for_ever": ("NaN on one of two processes, for ever", nan_for_ever),
    "leap": ("the likelihood leaps", leap),
    "full_disk": ("disk full during a save, for a while", full_disk),
    "disk_full_to_the_end": ("disk full, for good", disk_full_to_the_end),
    "newest_is_damaged": ("newest checkpoint damaged", newest_is_damaged),
    "no_memory_for_validation": ("out of memory in validation", no_memory_for_validation),
    **data_scenarios.SCENARIOS,
    **untrusted_scenarios.SCENARIOS,
}
