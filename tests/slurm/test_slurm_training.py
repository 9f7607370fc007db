"""Real trainings and evaluations under the fakes of SLURM, and from Hydra's launcher."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lvis.distill.records import read_journal
from lvis.evaluate.table import read_rows

ROOT = Path(__file__).resolve().parents[2]
FAKE = Path(__file__).resolve().parent / "fake"

# the bundled tiny networks on clips that are smaller still
TINY = (
    "trainer=cpu",
    "trainer.strategy=ddp",
    "trainer.devices=2",
    "trainer.max_steps=30",
    "trainer.log_every=1",
    "trainer.validate_every=0",
    "distill.size=[32,32]",
    "distill.frames=9",
    "distill.batch_size=1",
    "data.num_workers=0",
)

pytestmark = pytest.mark.slow


@pytest.fixture
def checkout(tmp_path) -> Path:
    shutil.copytree(ROOT / "slurm", tmp_path / "slurm", ignore=shutil.ignore_patterns("*.out"))
    (tmp_path / "state").mkdir()
    return tmp_path


def run(checkout: Path, *command: str, **variables: str) -> subprocess.CompletedProcess:
    here = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    own = {
        "PATH": f"{FAKE}{os.pathsep}{os.environ['PATH']}",
        "FAKE_STATE": str(checkout / "state"),
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        command, cwd=checkout, env={**here, **own, **variables}, capture_output=True, text=True
    )


def log(checkout: Path) -> str:
    return "".join(path.read_text() for path in (checkout / "slurm" / "logs").glob("*.out"))


def test_a_training_of_two_processes_that_is_signalled_saves_requeues_and_resumes(checkout):
    metrics = checkout / "outputs" / "mine" / "metrics.jsonl"
    variables = {"RUN_DIR": "outputs/mine", "FAKE_SIGNAL_WHEN": str(metrics)}
    run(checkout, "sbatch", "--ntasks-per-node=2", "slurm/train.sbatch", *TINY, **variables)

    text = log(checkout)
    assert (checkout / "state" / "100.status").read_text().strip() == "0", text
    assert "scontrol requeue 100\n" in (checkout / "state" / "calls").read_text()
    assert "2 process(es)" in text  # Lightning took its world from SLURM's variables
    stopped = int(text.split("stopped at step ")[1].split()[0])
    assert 0 < stopped < 30
    assert f"resumed from │ step_{stopped:08d}" in text.replace("  ", "")
    assert [line["step"] for line in read_journal(metrics)] == list(range(1, 31))
    assert (checkout / "outputs" / "mine" / "student" / "config.json").exists()


# the paper's preset, its model and clips exchanged for tiny ones
PRESET = (
    "experiment=instantvir_lean_deblur",
    "model=tiny",
    "data=synthetic",
    "trainer.accelerator=cpu",
    "trainer.max_steps=12",
    "trainer.save_every=2",
    *TINY[4:7],
    "distill.frames=9",
    "distill.batch_sizes.lean=2",
    "data.num_workers=0",
)


def test_the_papers_preset_sharded_over_two_processes_survives_a_kill_and_a_requeue(checkout):
    """FSDP2: first SIGKILL, which only a second submission continues, then a signal that the script answers."""
    checkpoints = checkout / "outputs" / "mine" / "checkpoints"

    def submit(signal: str, step: int) -> None:
        when = checkpoints / f"step_{step:08d}" / "SHA256SUMS"
        variables = {"RUN_DIR": "outputs/mine", "FAKE_SIGNAL_WHEN": str(when)}
        command = ("sbatch", "--ntasks-per-node=2", f"--signal={signal}@180", "slurm/train.sbatch")
        run(checkout, *command, *PRESET, **variables)

    submit("KILL", 2)
    assert (checkout / "state" / "100.status").read_text().strip() == str(128 + 9), log(checkout)
    assert "scontrol" not in (checkout / "state" / "calls").read_text()
    assert len(list((checkpoints / "step_00000002").glob("*.safetensors"))) == 2
    submit("USR1", 6)
    text = log(checkout)
    assert (checkout / "state" / "110.status").read_text().strip() == "0", text
    assert "scontrol requeue 110\n" in (checkout / "state" / "calls").read_text()
    assert text.count("resumed from") == 2 and "2 process(es)" in text
    journal = read_journal(checkpoints.parent / "metrics.jsonl")
    assert [line["step"] for line in journal] == list(range(1, 13))
    assert (checkpoints.parent / "student" / "config.json").exists()


def test_a_point_that_lvis_refuses_ends_its_element_with_lvis_sentence(checkout):
    (checkout / "points.txt").write_text("task=inpant\n")
    run(checkout, "slurm/sweep.sh", "slurm/array_evaluate.sbatch", "points.txt")
    assert (checkout / "state" / "100_0.status").read_text().strip() == "2"
    assert log(checkout).startswith("lvis: In 'evaluate': Could not find 'task/inpant'")
    assert "Traceback" not in log(checkout)


def test_hydras_submitit_launcher_sweeps_over_an_entry_point(checkout):
    overrides = ("solver=pinv", "clips.count=1", "clips.size=[32,32]", "clips.frames=9")
    sweep = ("seed=0,1", "output=results/${seed}", "hydra.sweep.dir=sweep")
    # the default folder has the job's number in it, which the local launcher makes too late on a busy machine
    sweep = (*sweep, "hydra.launcher.submitit_folder=jobs")
    command = ("-m", "lvis.evaluate", "-m", "hydra/launcher=submitit_local", *overrides, *sweep)
    done = run(checkout, sys.executable, *command)
    assert done.returncode == 0, done.stderr
    for seed in (0, 1):
        rows = read_rows(checkout / "results" / str(seed) / "results.jsonl")
        assert {row["seed"] for row in rows} == {seed} and rows[0]["method"] == "pinv"
