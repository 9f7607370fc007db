"""The job scripts of slurm/, run by fakes of sbatch, srun and scontrol that start the processes here (fake/)."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAKE = Path(__file__).resolve().parent / "fake"
SCRIPTS = sorted(path for path in (ROOT / "slurm").iterdir() if path.suffix in (".sh", ".sbatch"))


@dataclass
class Cluster:
    """A checkout to submit from, and what happened."""

    checkout: Path
    state: Path
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess:
        own = ("SLURM_", "OMP_NUM_THREADS")
        here = {key: value for key, value in os.environ.items() if not key.startswith(own)}
        return subprocess.run(
            command,
            cwd=self.checkout,
            env={**here, **self.variables, **variables},
            capture_output=True,
            text=True,
            timeout=900,
        )

    def calls(self, program: str) -> list[str]:
        """The command lines of a program, in their order."""
        lines = (self.state / "calls").read_text(encoding="utf-8").splitlines()
        return [line.removeprefix(f"{program} ") for line in lines if line.startswith(program)]

    def statuses(self) -> dict[str, int]:
        """Job, or array and index -> the exit status of its script."""
        return {path.stem: int(path.read_text()) for path in self.state.glob("*.status")}

    def log(self) -> str:
        """The logs of all jobs."""
        paths = sorted((self.checkout / "slurm" / "logs").glob("*.out"))
        return "".join(path.read_text(encoding="utf-8") for path in paths)


@pytest.fixture
def cluster(tmp_path) -> Cluster:
    checkout, state = tmp_path / "checkout", tmp_path / "state"
    shutil.copytree(ROOT / "slurm", checkout / "slurm", ignore=shutil.ignore_patterns("*.out"))
    state.mkdir()
    variables = {
        "PATH": f"{FAKE}{os.pathsep}{os.environ['PATH']}",
        "FAKE_STATE": str(state),
        "PYTHON": str(FAKE / "python"),
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(tmp_path),
    }
    return Cluster(checkout, state, variables)


def test_shellcheck_finds_nothing():
    shellcheck = Path(sys.executable).parent / "shellcheck"
    paths = [*SCRIPTS, *sorted(FAKE.iterdir())]
    found = subprocess.run(
        [shellcheck, "-x", *paths], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert found.returncode == 0, found.stdout


def test_training_starts_a_process_for_each_gpu_and_says_so_to_lightning(cluster):
    done = cluster.run("sbatch", "slurm/train.sbatch", "experiment=mine", "seed=1")
    assert done.returncode == 0, done.stderr
    command = (
        "-m lvis.train trainer=ddp trainer.devices=8 trainer.num_nodes=1 experiment=mine seed=1"
    )
    assert cluster.calls("python") == [command] * 8
    assert cluster.statuses() == {"100": 0}
    assert not cluster.calls("scontrol")


@pytest.mark.parametrize(
    ("name", "trainer"),
    [
        ("instantvir_lean_inpaint", ""),
        ("instantvir_wan_sr4", ""),
        ("instantvir", ""),
        ("instantvir_lora", "trainer=ddp "),  # for one GPU as it is
    ],
)
def test_a_papers_preset_keeps_its_own_trainer(cluster, name, trainer):
    preset = f"experiment={name}"
    cluster.run("sbatch", "slurm/train.sbatch", preset, "data.folder=SHARDS")
    words = f"{trainer}trainer.devices=8 trainer.num_nodes=1 {preset} data.folder=SHARDS"
    assert cluster.calls("python") == [f"-m lvis.train {words}"] * 8


def test_several_nodes_and_a_run_directory_are_passed_on(cluster):
    options = ("--nodes=2", "--ntasks-per-node=2", "--cpus-per-task=3")
    cluster.run("sbatch", *options, "slurm/train.sbatch", "task=sr4", RUN_DIR="outputs/mine")
    words = "trainer.devices=2 trainer.num_nodes=2 hydra.run.dir=outputs/mine task=sr4"
    assert cluster.calls("python") == [f"-m lvis.train trainer=ddp {words}"] * 4
    assert "OMP_NUM_THREADS=3" in (cluster.state / "environment").read_text().splitlines()
    (srun,) = cluster.calls("srun")
    assert "--cpus-per-task=3" in srun  # srun has not taken it from sbatch since SLURM 22.05
    assert (
        "--kill-on-bad-exit=0" in srun
    )  # else the first process that leaves with 75 kills the rest


def test_a_run_that_a_signal_ended_goes_back_to_the_queue(cluster):
    cluster.run("sbatch", "--ntasks-per-node=1", "slurm/train.sbatch", FAKE_STATUS="75")
    assert cluster.calls("scontrol") == ["requeue 100"]
    first, second = cluster.calls("python")
    assert first == second
    assert cluster.statuses() == {"100": 0}


@pytest.mark.parametrize("status", [1, 2, 130, 137])
def test_any_other_status_is_the_jobs(cluster, status):
    cluster.run("sbatch", "--ntasks-per-node=1", "slurm/train.sbatch", FAKE_STATUS=str(status))
    assert cluster.statuses() == {"100": status}
    assert not cluster.calls("scontrol")


def test_a_requeue_that_is_refused_says_what_to_do(cluster):
    variables = {"FAKE_STATUS": "75", "FAKE_SCONTROL": "fail"}
    cluster.run("sbatch", "--ntasks-per-node=1", "slurm/train.sbatch", **variables)
    assert cluster.statuses() == {"100": 75}
    assert "job 100 could not be requeued; submit it again to continue" in cluster.log()


@pytest.mark.parametrize("script", ["train.sbatch", "array_train.sbatch"])
def test_training_asks_for_a_signal_that_reaches_python_and_for_a_log_that_grows(script):
    lines = (ROOT / "slurm" / script).read_text(encoding="utf-8").splitlines()
    options = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
    assert {"--signal=USR1@180", "--requeue", "--open-mode=append"} <= set(options)
    assert not [o for o in options if o.startswith(("--account", "--partition", "--qos"))]


def test_a_script_submitted_from_elsewhere_says_so(cluster):
    shutil.move(cluster.checkout / "slurm" / "lib.sh", cluster.checkout / "lib.sh")
    cluster.run("sbatch", "slurm/train.sbatch")
    assert cluster.statuses() == {"100": 2}
    assert "submit from the root of the checkout" in cluster.log()


POINTS = """# two runs
task=inpaint vae=lean   # the first

  task=deblur vae=wan distill.size=[32,32]\r
"""


def sweep(cluster: Cluster, script: str, text: str, *arguments: str, **variables: str):
    """Submit a sweep over the lines of `text`; its result."""
    file = cluster.checkout / "points.txt"
    file.write_text(text, encoding="utf-8", newline="")
    return cluster.run("slurm/sweep.sh", f"slurm/{script}", file.name, *arguments, **variables)


def test_a_sweep_has_an_element_for_each_point_and_a_folder_for_each_element(cluster):
    options = ("--ntasks-per-node=1", "--partition=gpu", "--", "trainer.max_steps=5")
    done = sweep(cluster, "array_train.sbatch", POINTS, *options)
    assert done.returncode == 0, done.stderr
    (submitted,) = cluster.calls("sbatch")
    assert "--array=0-1 " in submitted and "--partition=gpu" in submitted
    first, second = cluster.calls("python")
    assert first.endswith(
        "hydra.run.dir=outputs/sweeps/points/task-inpaint_vae-lean trainer.max_steps=5 "
        "task=inpaint vae=lean"
    )
    assert second.endswith(
        "hydra.run.dir=outputs/sweeps/points/task-deblur_vae-wan_distill.size--32-32- "
        "trainer.max_steps=5 task=deblur vae=wan distill.size=[32,32]"
    )


def test_the_folder_of_a_point_stays_when_a_line_is_put_before_it(cluster):
    sweep(cluster, "array_train.sbatch", "seed=1", "--ntasks-per-node=1")
    (before,) = cluster.calls("python")
    sweep(cluster, "array_train.sbatch", "seed=0\nseed=1", "--ntasks-per-node=1", "--array=1")
    assert cluster.calls("python") == [before, before]


def test_a_point_of_any_length_has_a_folder_that_file_systems_take(cluster):
    long = "model.source=" + "x" * 300
    sweep(cluster, "array_train.sbatch", f"{long}1\n{long}2", "--ntasks-per-node=1")
    folders = [call.split("hydra.run.dir=")[1].split()[0] for call in cluster.calls("python")]
    names = {Path(folder).name for folder in folders}
    assert len(names) == 2 and all(len(name) < 200 for name in names)


def test_one_element_goes_back_to_the_queue_not_the_whole_array(cluster):
    sweep(cluster, "array_train.sbatch", "seed=0\nseed=1", "--ntasks-per-node=1", FAKE_STATUS="75")
    # element 1 is the last one and has the number of the array, 100
    assert cluster.calls("scontrol") == ["requeue 100_0", "requeue 100_1"]
    assert cluster.statuses() == {"100_0": 0, "100_1": 0}


def test_evaluations_have_a_folder_and_a_label_each(cluster):
    text = (ROOT / "slurm" / "points" / "t0_k.txt").read_text(encoding="utf-8")
    sweep(cluster, "array_evaluate.sbatch", text, "--", "task=sr4")
    calls = cluster.calls("python")
    assert len(calls) == 9 == len(set(calls))
    name = "solver-avis_solver.t0-0.1_solver.K-1"
    assert calls[0] == (
        f"-m lvis.evaluate output=outputs/sweeps/points/{name} label={name} task=sr4 "
        "solver=avis solver.t0=0.1 solver.K=1"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "points.txt has no points; write one line of overrides each"),
        ("# nothing\n", "points.txt has no points"),
        ("seed=1\ntaskinpaint vae=lean\n", "points.txt, point 2: taskinpaint is not an override"),
        ("seed=1 vae=lean\nseed=1  vae=lean # again\n", 'points.txt has the point "seed=1 vae=lean" twice'),
    ],
)  # fmt: skip
def test_a_file_of_points_that_will_not_do_is_not_submitted(cluster, text, sentence):
    done = sweep(cluster, "array_train.sbatch", text)
    assert done.returncode == 2
    assert done.stderr.startswith(f"slurm: {sentence}") and done.stderr.count("\n") == 1
    assert not (cluster.state / "calls").exists()


@pytest.mark.parametrize("script", ["array_train.sbatch", "array_evaluate.sbatch"])
def test_an_element_without_a_point_ends_with_one_sentence(cluster, script):
    sweep(cluster, script, "seed=1", "--array=7")
    assert cluster.statuses() == {"100_7": 2}
    assert cluster.log() == (
        "slurm: points.txt has 1 points, and none has the index 7; submit with slurm/sweep.sh, which counts them\n"
    )  # fmt: skip
    cluster.run("sbatch", f"slurm/{script}")
    assert "one element of an array; submit it with slurm/sweep.sh" in cluster.log()


def test_the_points_of_the_repository_are_runs_that_compose():
    from lvis.cli.config import compose

    for name, file in (("train", "train.txt"), ("evaluate", "t0_k.txt")):
        lines = (ROOT / "slurm" / "points" / file).read_text(encoding="utf-8").splitlines()
        found = [line.split() for line in lines if not line.startswith("#")]
        composed = [compose(name, [*words, "output=x"]) for words in found]
        assert len(composed) > 1
        if name == "train":
            cells = {(cfg.task.name, cfg.vae.name) for cfg in composed}
            assert cells == {(t, v) for t in ("inpaint", "deblur", "sr4") for v in ("lean", "wan")}
        else:
            assert len({(cfg.solver.t0, cfg.solver.K) for cfg in composed}) == len(composed)


def test_shards_are_prepared_by_shares_and_put_together_afterwards(cluster):
    done = cluster.run(
        "slurm/prepare.sh",
        "/data/my videos",
        "shards",
        "3",
        "--partition=cpu",
        "--",
        "size=[64,64]",
    )
    assert done.returncode == 0, done.stderr
    shares, merge = cluster.calls("sbatch")
    assert "--array=0-2 --partition=cpu" in shares and "--parsable" in shares
    assert "--dependency=afterok:100 --kill-on-invalid-dep=yes --partition=cpu" in merge
    common = "-m lvis.prepare input=/data/my videos output=shards"
    assert cluster.calls("python") == [
        *(f"{common} job.index={index} job.count=3 size=[64,64]" for index in range(3)),
        f"{common} job.merge=true size=[64,64]",
    ]


def test_shares_are_not_put_together_where_one_failed(cluster):
    cluster.run("slurm/prepare.sh", "videos", "shards", "2", FAKE_STATUS="1")
    assert len(cluster.calls("python")) == 2
    # one share again: it is still one of two
    cluster.run("sbatch", "--array=1", "slurm/prepare.sbatch", "videos", "shards", "2")
    assert cluster.calls("python")[-1].endswith("job.index=1 job.count=2")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("videos", "shards"), "prepare.sh takes INPUT OUTPUT COUNT"),
        (("videos", "shards", "0"), "COUNT=0 is not a number of jobs"),
        (("videos", "shards", "4", "--array=1"), "--array=1: COUNT is the size of the array"),
    ],
)
def test_preparing_says_what_it_takes(cluster, arguments, sentence):
    done = cluster.run("slurm/prepare.sh", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"slurm: {sentence}") and done.stderr.count("\n") == 1


def test_the_environment_is_unpacked_once_for_all_jobs_of_a_node(cluster, tmp_path):
    environment = cluster.checkout / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "pyvenv.cfg").write_text("home = /usr/bin\n")
    shutil.copy(FAKE / "python", environment / "bin" / "python")
    variables = {"PYTHON": ".venv/bin/python", "ENV_CACHE": "1"}
    command = ("sbatch", "--ntasks-per-node=1", "slurm/train.sbatch")
    for _ in range(2):
        cluster.run(*command, **variables)
    assert cluster.statuses() == {"100": 0, "110": 0}, cluster.log()
    (copy,) = tmp_path.glob("lvis_*")
    trainings = [call for call in cluster.calls("srun") if "lvis.train" in call]
    assert len(trainings) == 2 and all(f" {copy}/bin/python -m" in call for call in trainings)
    assert not list((cluster.checkout / "outputs").glob("*.tmp"))

    cluster.run(*command, ENV_CACHE="1")
    assert "is not in one" in cluster.log()
