"""The page's modules without a page, in Node."""

import shutil
import subprocess
from pathlib import Path

import pytest

NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_clock_wire_and_session():
    tests = Path(__file__).with_name("modules.test.mjs")
    done = subprocess.run([NODE, "--test", tests], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
