"""Checkpoints are whole or absent; the newest whole one is found; the journal agrees with it."""

import os
import signal

import pytest
import torch

from lvis.distill import checkpoints
from lvis.distill.preemption import EXIT_REQUEUE, heeding_signals
from lvis.distill.records import Journal, read_journal, write_side_by_side
from lvis.errors import UserError


def state(step: int) -> dict:
    return {
        "step": step,
        "student": {"weight": torch.full((1000,), float(step))},
        "about": {"a": 1},
    }


def test_newest_is_found_and_only_two_are_kept(tmp_path):
    for step in (1, 2, 10):
        checkpoints.save(tmp_path, state(step))
    found, path = checkpoints.load_newest(tmp_path)
    assert found["step"] == 10 and path.name == "step_00000010.ckpt"
    assert torch.equal(found["student"]["weight"], torch.full((1000,), 10.0))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage):
    checkpoints.save(tmp_path, state(1))
    newest = checkpoints.save(tmp_path, state(2))
    content = bytearray(newest.read_bytes())
    if damage == "flipped":
        place = content.find(torch.full((4,), 2.0).numpy().tobytes())
        content[place + 100] ^= 0xFF
    newest.write_bytes({"truncated": content[:-200], "flipped": content, "empty": b""}[damage])
    assert checkpoints.load_newest(tmp_path)[0]["step"] == 1


def test_when_all_are_damaged_the_user_is_told(tmp_path):
    checkpoints.save(tmp_path, state(1)).write_bytes(b"no")
    with pytest.raises(UserError, match="none of the checkpoints in .* can be read"):
        checkpoints.load_newest(tmp_path)


def test_no_folder_is_no_checkpoint(tmp_path):
    assert checkpoints.load_newest(tmp_path / "nothing") is None


def test_a_save_that_fails_leaves_the_old_checkpoints(tmp_path):
    checkpoints.save(tmp_path, state(1))
    with pytest.raises((AttributeError, TypeError, RuntimeError)):
        checkpoints.save(tmp_path, {**state(2), "bad": (lambda: None)})
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001.ckpt"]


def test_no_frozen_net_is_stored(make_module):
    stored = make_module("lean").training_state()
    nets = {name for name, value in stored.items() if isinstance(value, dict)}
    optimisers = {"student_optimizer", "critic_optimizer"}
    assert nets == {"student", "critic", "average"} | optimisers


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
