import pickle
import subprocess
import sys

import cloudpickle
import pytest
from omegaconf import OmegaConf

from lvis.cli.config import Guarded, compose, entry, fail, plain
from lvis.errors import UserError
from lvis.evaluate.command import evaluate


def test_every_task_composes_with_every_vae():
    for task in ("inpaint", "deblur", "sr4", "temporal_average", "sr_plus"):
        for vae in ("wan", "lean"):
            cfg = plain(compose("restore", [f"task={task}", f"vae={vae}", "input=a", "output=b"]))
            assert (cfg["task"]["name"], cfg["vae"]["name"]) == (task, vae)


@pytest.mark.parametrize("override", ["task=nothing", "distill.rate=1", "trainer.max_stepz=3"])
def test_an_unknown_option_or_key_is_named(override):
    with pytest.raises(UserError, match=override.split("=")[0].split(".")[-1]):
        compose("train", [override])


def test_a_user_error_is_one_line_and_status_2(capsys, monkeypatch):
    monkeypatch.delenv("LVIS_DEBUG", raising=False)
    with pytest.raises(SystemExit) as stop:
        fail(UserError("clip.mp4 is missing; give a file that exists"))
    assert stop.value.code == 2
    assert capsys.readouterr().err == "lvis: clip.mp4 is missing; give a file that exists\n"


def test_an_entry_point_shows_no_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "lvis.evaluate", "clips.source=[/nowhere/clip.mp4]"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "clip.mp4" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_constructors_user_error_comes_through_hydra():
    """Hydra's instantiate wraps it."""
    done = subprocess.run(
        [sys.executable, "-m", "lvis.evaluate", "task.operator.missing_share=2", "solver=pinv"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "missing_share" in done.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "gone", "/data/a.json"), "/data/a.json: no such file or directory"),
        (OSError(28, "full", "/data/a.json"), "/data/a.json: no space left on device"),
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
    ],
)
def test_what_the_machine_refuses_is_one_line_and_status_2(capsys, monkeypatch, error, said):
    monkeypatch.delenv("LVIS_DEBUG", raising=False)

    def task(cfg):
        raise error

    with pytest.raises(SystemExit) as stop:
        Guarded(task)(OmegaConf.create())
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


def test_a_mistake_of_ours_keeps_its_traceback():
    def task(cfg):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        Guarded(task)(OmegaConf.create())


def test_an_interrupt_before_the_task_is_said_like_one_in_it(capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lvis.cli.config.check_arguments", interrupted)
    with pytest.raises(SystemExit) as stop:
        entry("train")(lambda cfg: None)()
    assert stop.value.code == 130
    assert capsys.readouterr().err == "lvis: interrupted\n"


def test_a_task_is_pickled_by_name_for_launchers_that_run_it_elsewhere():
    # by value it would bring its module's console along, which holds a lock
    copy = pickle.loads(cloudpickle.dumps(Guarded(evaluate)))
    assert copy.task is evaluate


def test_what_hydra_says_of_the_command_line_is_one_line_and_status_2(capsys, monkeypatch):
    monkeypatch.delenv("LVIS_DEBUG", raising=False)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setattr(sys, "argv", ["lvis-train", "task=inpant"])
    with pytest.raises(SystemExit) as stop:
        entry("train")(lambda cfg: None)()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("lvis: In 'train': Could not find 'task/inpant' Available options in")
    assert "inpaint, inpaint_plus" in said and said.count("\n") == 1


def test_a_folder_that_hydra_cannot_make_is_one_line_and_status_2(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("LVIS_DEBUG", raising=False)
    monkeypatch.setattr(sys, "argv", ["lvis-evaluate", "-m", f"output={tmp_path}/file/out"])
    with pytest.raises(SystemExit) as stop:
        entry("evaluate")(lambda cfg: None)()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"lvis: cannot write {tmp_path}/file") and said.count("\n") == 1


def test_what_a_task_raises_of_the_system_is_not_taken_for_an_output(monkeypatch):
    def task(cfg):
        raise FileNotFoundError("a bug")

    monkeypatch.setattr(sys, "argv", ["lvis-evaluate"])
    with pytest.raises(FileNotFoundError):
        entry("evaluate")(task)()
