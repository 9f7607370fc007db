"""A process that ends early leaves the first one time to save, and does not leave it waiting for ever."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from lvis.distill.observing import Observing

POLL_SECONDS = 1  # of Lightning's observer; 5 by default


def first_process(grace: float, more: float) -> None:
    """Goes on for `more` seconds after another has ended with status 75."""
    launcher = _SubprocessScriptLauncher(LightningEnvironment(), num_processes=2, num_nodes=1)
    code = "import sys; sys.stdin.read(); sys.exit(75)"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    launcher.procs = [other]
    _ChildProcessObserver(os.getpid(), launcher.procs, POLL_SECONDS).start()
    Observing(grace).setup(SimpleNamespace(strategy=SimpleNamespace(launcher=launcher)))
    other.communicate()
    time.sleep(more)


@pytest.mark.parametrize(
    ("grace", "more", "status"), [(1000, 3 * POLL_SECONDS, 0), (0.1, 1000, -signal.SIGKILL)]
)
def test_the_first_process_has_its_time_and_no_more(grace, more, status):
    process = multiprocessing.get_context("fork").Process(target=first_process, args=(grace, more))
    process.start()
    process.join(300)
    assert process.exitcode == status


def test_one_process_has_nobody_to_observe():
    Observing().setup(SimpleNamespace(strategy=SimpleNamespace(launcher=None)))
