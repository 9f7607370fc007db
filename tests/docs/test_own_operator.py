"""The operator of docs/own_operator.md works as the page says."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from lvis.data.frames import to_frames
from lvis.data.synthetic import synthetic_clip

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "own_operator.md").read_text(
    encoding="utf-8"
)


@pytest.fixture
def folder(tmp_path) -> Path:
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "my_operators.py").write_text(code)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "lvis.restore", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def page_command() -> list[str]:
    [command] = re.findall(r"python -m lvis\.restore (.*?)\n\n", PAGE, re.DOTALL)
    return shlex.split(command.replace("\\\n", " "))


@pytest.fixture
def clean(folder) -> Path:
    (folder / "clean").mkdir()
    for index, frame in enumerate(to_frames(synthetic_clip(0, 0, 9, (64, 64)).video[None])):
        Image.fromarray(frame).save(folder / "clean" / f"{index}.png")
    return folder / "clean"


def test_the_command_of_the_page_restores_with_it(folder, clean):
    arguments = [
        argument for argument in page_command() if not argument.startswith(("input=", "output="))
    ]
    finished = run(
        folder, *arguments, "input=clean", "output=out", "degrade=true", "report=report.json"
    )
    assert finished.returncode == 0, finished.stderr
    scores = json.loads((folder / "report.json").read_text())["scores"]
    protocol = next(name for name in scores["measurement"] if name.startswith("psnr"))
    assert len(list((folder / "out").iterdir())) == 9
    # noise-free and well sampled: what is left is what the tiny VAE loses
    assert scores["pinv"][protocol] > scores["measurement"][protocol] + 3


def test_a_name_that_is_not_there_is_said(folder, clean):
    finished = run(
        folder,
        "task=own",
        "task._target_=my_operators.Missing",
        "solver=pinv",
        "input=clean",
        "output=out",
    )
    assert finished.returncode == 2
    assert "my_operators.Missing" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_the_operator_is_one(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    from my_operators import MotionBlur

    x, y = torch.randn(2, 1, 3, 2, 8, 16, dtype=torch.float64)
    operator = MotionBlur(length=5)
    left, right = (operator(x) * y).sum(), (x * operator.adjoint(y)).sum()
    torch.testing.assert_close(left, right)
