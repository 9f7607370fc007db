"""Trainings in processes of their own, of weights that take seconds: started, hurt, and compared."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lvis.backbone import TextEncoder, WanTransformer
from lvis.distill.checkpoints import Checkpoint, load_newest
from lvis.distill.records import read_journal
from lvis.vae import LeanVAE, WanVAE
from lvis.weights import save_lean_vae, save_text_encoder, save_transformer, save_wan_vae

HERE = Path(__file__).resolve().parent
PATIENCE = 900  # seconds that a run may take
STEPS = 6


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit status (None: it hung and had to be killed), and what it said."""

    status: int | None
    said: str


def write_weights(folder: Path) -> Path:
    """Every part of a model, of random weights, in `folder`."""
    torch.manual_seed(0)
    sizes = {"num_attention_heads": 2, "attention_head_dim": 12, "num_layers": 1, "ffn_dim": 32}
    transformer = WanTransformer(**sizes, text_dim=64, text_len=32, freq_dim=16)
    save_transformer(transformer, folder / "teacher")
    small = {"base_dim": 4, "z_dim": 16, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
    more = {"attn_scales": [], "temperal_downsample": [False, True, True]}
    save_wan_vae(WanVAE(**small, **more), folder / "wan_vae")
    lean = LeanVAE(low_width=16, high_width=16, branch_layers=1, fusion_layers=1, ista_layers=1)
    save_lean_vae(lean, folder / "lean_vae")
    save_text_encoder(TextEncoder.tiny(), folder / "text_encoder")
    return folder


def command(weights: Path, output: Path, *overrides: str, strategy: str = "cpu") -> list[str]:
    """`python -m lvis.train` of `weights` into `output`, on one process or on two."""
    two = [f"trainer={strategy}", "trainer.accelerator=cpu", "trainer.devices=2"]
    return [
        sys.executable,
        "-m",
        "lvis.train",
        f"hydra.run.dir={output}",
        *(["trainer=cpu"] if strategy == "cpu" else two),
        f"model.teacher.source={weights / 'teacher'}",
        f"model.teacher_vae.source={weights / 'wan_vae'}",
        f"model.vaes.lean.source={weights / 'lean_vae'}",
        f"model.text_encoder.source={weights / 'text_encoder'}",
        "distill.size=[32,32]",
        "distill.frames=9",
        "distill.ratio=2",
        "distill.likelihood_only_steps=0",
        "distill.warmup_steps=0",
        "task.operator.noise_std=0.01",
        "data.num_workers=0",
        "data.val_clips=0",
        "trainer.log_every=1",
        "trainer.save_every=2",
        "trainer.threads=1",
        "trainer.validate_every=0",
        f"trainer.max_steps={STEPS}",
        *overrides,
    ]


FAULTY = "data._target_=faulty_data.FaultyVideos"


def environment(fault: str = "") -> dict[str, str]:
    names = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK", "LOCAL_RANK", "NODE_RANK")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    path = os.pathsep.join(filter(None, (str(HERE), kept.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "FAULT": fault, "OMP_NUM_THREADS": "1"}


def start(
    arguments: Sequence[str], fault: str = "", variables: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """The run, going on."""
    return subprocess.Popen(
        arguments,
        env={**environment(fault), **(variables or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], patience: float = PATIENCE) -> Ended:
    """Wait for its end; a run that outlasts `patience` seconds has hung and is killed with its children."""
    try:
        said = process.communicate(timeout=patience)[1]
        return Ended(process.returncode, said)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        return Ended(None, process.communicate()[1])


def run(
    arguments: Sequence[str], fault: str = "", variables: Mapping[str, str] | None = None
) -> Ended:
    return finish(start(arguments, fault, variables))


_WEIGH = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def weighed(arguments: Sequence[str]) -> tuple[Ended, float]:
    """A run in one process, and the most memory that it had, in MB.

    A small process starts it: Linux counts what the one that forks holds as its child's, too.
    """
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.run(
            [sys.executable, "-c", _WEIGH, *arguments],
            env=environment(), stdout=subprocess.PIPE, stderr=said, text=True,
        )  # fmt: skip
        said.seek(0)
        return Ended(process.returncode, said.read()), int(process.stdout) / 1000


def steps_done(output: Path) -> int:
    """The last step in the run's journal."""
    path = output / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return len([line for line in lines if line.endswith("}")])


def wait_for_step(output: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Until the run has done `step` steps, or ended."""
    began = time.monotonic()
    while process.poll() is None and steps_done(output) < step:
        if time.monotonic() - began > PATIENCE:
            raise TimeoutError(f"{output} did not come to step {step}")
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    """Process ids of the ranks that a process has started."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    return [int(line) for line in found.split()]


def newest(output: Path) -> Checkpoint:
    found = load_newest(output / "checkpoints")
    assert found is not None, f"no checkpoint in {output}"
    return found


def same_tensors(left: Path, right: Path, tolerance: float = 0.0) -> bool:
    """Whether the newest checkpoints of two runs hold the same, bit for bit unless there is a tolerance."""
    first, second = newest(left), newest(right)
    if first.counters != second.counters:
        return False
    a, b = first.tensors(), second.tensors()
    return a.keys() == b.keys() and all((a[n] - b[n]).abs().max() <= tolerance for n in a)


def losses(output: Path) -> list[tuple[int, float]]:
    """(step, critic's loss) of every line."""
    lines = read_journal(output / "metrics.jsonl")
    return [(line["step"], line["critic"]) for line in lines if line["kind"] == "train"]


def last_sentence(said: str) -> str:
    """What the run said last, without a traceback."""
    lines = [line for line in said.splitlines() if line.startswith("lvis: ")]
    return lines[-1] if lines else ""
