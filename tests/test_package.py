"""The wheel: what is in it, and that it works away from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def python(unpacked: Path, where: Path, code: str) -> list[str]:
    """The lines that `code` prints when it runs in the folder `where` with the wheel installed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=where,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def tree(folder: Path) -> set[str]:
    """The files under `folder`, but for what running Python leaves."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix() for path in paths if "__pycache__" not in path.parts
    }


def test_wheel_holds_the_configuration_the_weights_and_every_file_of_the_package(unpacked):
    assert tree(ROOT / "conf") == tree(unpacked / "lvis" / "conf")
    inside = {path for path in tree(unpacked / "lvis") if not path.startswith("conf/")}
    here = {path for path in tree(ROOT / "lvis") if "/." not in f"/{path}"}
    assert here <= inside
    assert "report/page.html.j2" in inside


def test_wheel_finds_its_own_configuration_and_experiments_of_the_user(unpacked, tmp_path):
    experiment = tmp_path / "mine" / "experiment"
    experiment.mkdir(parents=True)
    (experiment / "short.yaml").write_text("# @package _global_\ntrainer: {max_steps: 7}\n")
    code = """
import sys
import lvis.cli.config
print(lvis.cli.config.CONF)
print(lvis.cli.config.compose("restore").model.name)
print(lvis.cli.config.compose("train", ["output=x"]).task.name)
print(lvis.cli.config.compose("demo").output)
sys.argv = ["lvis-train", "--config-dir", "mine", "experiment=short", "hydra.run.dir=run"]
lvis.cli.config.entry("train")(lambda cfg: print(cfg.trainer.max_steps, cfg.trainer.save_every))()
"""
    lines = python(unpacked, tmp_path, code)
    assert lines == [str(unpacked / "lvis" / "conf"), "small", "inpaint", "outputs/demo", "7 100"]
