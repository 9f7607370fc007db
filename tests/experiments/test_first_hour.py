"""The first hour with a GPU, without one: its order, that it goes on where it was, and its own parts on fake CUDA."""

import importlib.util
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

from lvis.cli.config import compose
from lvis.fakecuda import modules_move_to_fake
from lvis.fakecuda.streams import recorded

SPEED = Path(__file__).resolve().parents[2] / "experiments" / "speed"


@pytest.fixture(scope="module")
def on_device():
    spec = importlib.util.spec_from_file_location("on_device", SPEED / "on_device.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_runs_each_part_once_most_telling_first_and_goes_on(tmp_path):
    # stands for the interpreter: writes the result that was asked for, but fails once at "kernels"
    stub, log, out = tmp_path / "python", tmp_path / "log", tmp_path / "out"
    stub.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {log}\n'
        'for word in "$@"; do case $word in output=*) target=${word#output=}.json;; *.json) target=$word;; esac; done\n'
        f"case $target in */kernels.json) [ -e {tmp_path}/failed ] || {{ touch {tmp_path}/failed; exit 1; }};; esac\n"
        'echo "{}" > "$target"\n'
    )
    stub.chmod(0o755)
    env = os.environ | {"PYTHON": str(stub), "OUT": str(out)}

    def hour():
        return subprocess.run([SPEED / "first_hour.sh"], env=env, capture_output=True, text=True)

    first = hour()
    assert first.returncode == 1
    assert "kernels: failed" in first.stdout
    calls = log.read_text().splitlines()
    assert "on_device.py correct" in calls[0] and "student_lean " in calls[1] + " "
    for call in calls:
        words = call.split()
        if words[:2] == ["-m", "lvis.benchmark"]:
            compose("benchmark", words[2:])  # every key exists
    log.unlink()
    second = hour()
    assert second.returncode == 0
    assert second.stdout.count("there already") == len(calls) - 1
    assert len(log.read_text().splitlines()) == 1


def test_the_device_is_right_on_the_cpu(on_device, tmp_path):
    target = tmp_path / "correct.json"
    assert on_device.main("correct", str(target), "device=cpu") == 0
    found = json.loads(target.read_text())
    assert found["broken"] == []
    assert all(0 < v for k, v in found["differences"].items() if "bf16" in k and "student" in k)
    on_device.BOUNDS["bf16_rms"], kept = 0.0, on_device.BOUNDS["bf16_rms"]
    try:
        assert on_device.main("correct", str(tmp_path / "none.json"), "device=cpu") == 1
    finally:
        on_device.BOUNDS["bf16_rms"] = kept
    assert not (tmp_path / "none.json").exists()


def test_kernels_and_a_training_step_run_on_fake_cuda(on_device, monkeypatch):
    device = torch.device("cuda")
    monkeypatch.setattr(on_device, "_most", lambda *_: 0.0)
    with recorded() as recorder:
        recorder.engine_on_cpu = True
        found = on_device.kernels(device, ["model=tiny"])
        assert {row["what"] for row in found["convolutions"]} == {"depthwise", "dense"}
        assert all(set(row["seconds"]) == {"direct", "taps"} for row in found["convolutions"])
        monkeypatch.setattr(on_device, "compose", small(on_device.compose))
        with modules_move_to_fake():
            step = on_device.training(device, ["model=tiny", "trainer=gpu"])
        assert set(step["seconds"]) == {"student: forward", "student: backward", "critic"}
    assert not [event for event in recorder.events if event.kind == "mixed"]


def small(compose_):
    return lambda name, keys: compose_(name, [*keys, "model.frames=9", "model.size=[32,32]"])
