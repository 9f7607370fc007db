"""Checkpoints are whole or absent; the newest whole one is found; the journal agrees with it."""

import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest
import torch

from lvis.distill import checkpoints
from lvis.distill.preemption import EXIT_REQUEUE, heeding_signals
from lvis.distill.records import Journal, read_journal, write_side_by_side
from lvis.errors import UserError
from lvis.files import sha256_of


def save(folder: Path, step: int) -> Path:
    tensors = {
        "student/weight": torch.full((100, 10), float(step)),
        "student_optimizer/weight/step": torch.tensor(float(step)),
    }
    return checkpoints.save(folder, tensors, {"step": step}, {"a": 1})


def test_what_was_saved_is_found(tmp_path):
    save(tmp_path, 10)
    found = checkpoints.load_newest(tmp_path)
    assert (found.counters, found.about) == ({"step": 10}, {"a": 1})
    weight = found.tensors()["student/weight"]
    assert torch.equal(weight, torch.full((100, 10), 10.0))
    assert torch.equal(found.rows("student/weight", 3, 5), weight[3:5])
    assert found.rows("student_optimizer/weight/step", 0, 1).item() == 10


def test_the_newest_and_the_best_are_kept(tmp_path):
    for step in (1, 2, 3, 10):
        save(tmp_path, step)
        if step == 1:
            checkpoints.note_best(tmp_path, "step_00000001", 20.0)
        checkpoints.forget_old(tmp_path, 2)
    kept = ["step_00000010", "step_00000003", "step_00000001"]
    assert [path.name for path in checkpoints.newest_first(tmp_path)] == kept
    assert checkpoints.load_newest(tmp_path).counters["step"] == 10
    assert checkpoints.best_score(tmp_path) == 20.0


def test_the_sums_are_those_of_sha256sum(tmp_path):
    folder = save(tmp_path, 1)
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "missing"])
@pytest.mark.parametrize("name", ["shard_00000.safetensors", "manifest.json", "SHA256SUMS"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, name, damage):
    save(tmp_path, 1)
    path = save(tmp_path, 2) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x01
    if damage == "missing":
        path.unlink()
    else:
        whole = path.read_bytes()
        damaged = {"truncated": whole[:-20], "flipped": content, "empty": b""}
        path.write_bytes(damaged[damage])
    assert checkpoints.load_newest(tmp_path).counters["step"] == 1


def test_a_sum_outside_of_the_folder_is_refused(tmp_path):
    folder = save(tmp_path, 1)
    with open(folder / "SHA256SUMS", "a") as sums:
        sums.write(f"{sha256_of(folder / 'manifest.json')}  ../stolen\n")
    with pytest.raises(ValueError, match="stolen"):
        checkpoints.Checkpoint(folder)


def test_when_all_are_damaged_the_user_is_told(tmp_path):
    (save(tmp_path, 1) / "manifest.json").write_bytes(b"no")
    with pytest.raises(UserError, match="none of the checkpoints in .* can be read"):
        checkpoints.load_newest(tmp_path)


def test_no_folder_is_no_checkpoint(tmp_path):
    assert checkpoints.load_newest(tmp_path / "nothing") is None


def test_half_a_checkpoint_is_none_and_the_next_save_removes_it(tmp_path):
    """What a process that was killed while it saved leaves behind."""
    save(tmp_path, 1)
    partial = tmp_path / ".partial_step_00000002"
    partial.mkdir()
    (partial / "shard_00000.safetensors").write_bytes(b"half")
    assert checkpoints.load_newest(tmp_path).counters["step"] == 1
    save(tmp_path, 3)
    assert not partial.exists()


def test_a_save_that_fails_leaves_the_old_checkpoints_and_nothing_else(tmp_path):
    """A file system that takes no more: the kernel's own limit on what a process may write."""
    save(tmp_path, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(checkpoints.SavingFailed, match="cannot write .*step_00000002"):
            save(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]
    assert checkpoints.load_newest(tmp_path).counters["step"] == 1


def test_no_frozen_net_is_stored(make_module):
    stored = make_module("lean").training_state().tensors()
    assert {name.partition("/")[0] for name in stored} == {"student", "critic", "average"}


def test_a_checkpoint_of_another_architecture_is_refused(make_module, tmp_path):
    module = make_module()
    tensors = module.training_state().tensors()
    more = {**tensors, "student/extra": torch.zeros(2)}
    checkpoints.save(tmp_path, more, module.counters, {})
    with pytest.raises(UserError, match="student/extra"):
        module.resume(checkpoints.load_newest(tmp_path))
    fewer = {name: tensor for name, tensor in tensors.items() if "proj_out" not in name}
    checkpoints.save(tmp_path, fewer, module.counters, {})
    with pytest.raises(UserError, match="lacks student/net.proj_out"):
        module.resume(checkpoints.load_newest(tmp_path))


def test_journal_drops_what_came_after_the_checkpoint(tmp_path):
    journal = Journal(tmp_path / "metrics.jsonl")
    journal.begin(0, [])
    for step in (1, 2, 3):
        journal.add(step, "train", {"likelihood": 0.5, "student_gradient": float("nan")})
    with open(journal.path, "a") as file:
        file.write('{"step": 4, "ki')
    again = Journal(journal.path)
    again.begin(2, [])
    again.add(3, "train", {"likelihood": 0.25})
    lines = read_journal(journal.path)
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[0]["student_gradient"] is None
    assert lines[2]["likelihood"] == 0.25


def test_videos_are_shown_side_by_side(tmp_path):
    from PIL import Image

    from lvis.data.video import VideoReader

    black, white = -torch.ones(1, 3, 5, 32, 32), torch.ones(1, 3, 5, 32, 32)
    clip, picture = write_side_by_side([black, white], tmp_path, "clip")
    with VideoReader(clip) as reader:
        frames = list(reader)
    assert len(frames) == 5 and frames[0].shape == (32, 66, 3)
    pixels = Image.open(picture)
    assert pixels.size == (66, 96)
    assert pixels.getpixel((5, 5)) == (0, 0, 0) and pixels.getpixel((60, 5)) == (255, 255, 255)


def test_a_signal_is_remembered_until_the_step_ends():
    before = signal.getsignal(signal.SIGTERM)
    with heeding_signals() as preemption:
        assert not preemption.asked(torch.device("cpu"))
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.asked(torch.device("cpu"))
        assert preemption.exit_code == EXIT_REQUEUE
    assert signal.getsignal(signal.SIGTERM) == before
