"""`--help` says what an entry point takes: usage, every key with its comment, every group with its options."""

import subprocess
import sys

import pytest

from lvis.cli.config import CONF
from lvis.cli.help_page import help_page

ENTRIES = sorted(path.stem for path in CONF.glob("*.yaml"))


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_page_says_how_to_call_it(entry):
    page = help_page(entry, CONF)
    assert f"python -m lvis.{entry}" in page
    assert not {"hydra:", "defaults:"} & set(page.splitlines())


def test_keys_come_with_their_comments_and_groups_with_their_options():
    page = help_page("restore", CONF)
    assert "quality: 18               # of H.264" in page
    assert "admm_tv | avis | avis_flash" in page and "(default: student)" in page


def test_a_page_has_what_its_configuration_builds_on():
    page = help_page("plan", CONF)
    assert "mfu: 0.35" in page and "trainer " in page


def test_the_option_prints_the_page_and_ends_well():
    command = [sys.executable, "-m", "lvis.warp", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == help_page("warp", CONF).strip()


def test_training_lists_the_keys_of_distill_and_trainer():
    page = help_page("train", CONF)
    assert "student_learning_rate: 3.0e-3" in page and "max_steps: 1200 " in page
    assert "accelerator: gpu" not in page
    assert "accelerator: gpu" in help_page("train", CONF, ["trainer=fsdp", "seed=1"])


def test_a_reader_that_stops_early_gets_no_traceback():
    command = f"{sys.executable} -m lvis.train --help | head -2; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2 and not done.stderr
