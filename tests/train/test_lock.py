"""Two trainings never write to one folder."""

import os
import subprocess
import sys

import pytest
from small_training import configuration

from lvis.errors import UserError
from lvis.train.command import train
from lvis.train.lock import locked

HOLD = """
import sys
from pathlib import Path
from lvis.train.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that trains in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_training_is_refused_by_the_first_ones_name(weights, tmp_path, holder):
    cfg = configuration(weights, tmp_path, "trainer.validate_every=0", "trainer.max_steps=1")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UserError, match=f"is being trained by process {holder.pid} on .* since 2"):
        train(cfg)
    assert sorted(os.listdir(tmp_path)) == before
    holder.kill()  # however the owner ends, the folder is free
    holder.wait()
    assert train(cfg)[0]["step"] == 1


def test_the_lock_ends_with_the_training_and_is_not_inherited(tmp_path):
    with locked(tmp_path):
        child = os.fork()
        if not child:
            os._exit(_refused(tmp_path))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert _refused(tmp_path) == 0


def _refused(folder) -> int:
    try:
        with locked(folder):
            return 0
    except UserError:
        return 1
