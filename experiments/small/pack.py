"""Weights from a checkpoint of student.py, in float16:

    python experiments/small/pack.py --student DIR/student.pt --vae DIR/lean_vae --output FOLDER

It writes FOLDER/lean_vae and FOLDER/student_any_lean.
"""

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[at]) for at in (1, 2)]

import torch  # noqa: E402

from lvis.cli.config import fail  # noqa: E402
from lvis.errors import UserError  # noqa: E402
from lvis.weights import load_lean_vae, save_lean_vae, save_transformer  # noqa: E402
from lvis.weights.safe import read_file  # noqa: E402
from small.loop import averaged  # noqa: E402
from small.network import BLOCK_SIZE, TAU, Student  # noqa: E402

RECORD = {
    "task": "any",
    "vae": "lean",
    "model": "small",
    "input": "estimate",
    "output": "residual",
    "parametrization": "residual",
    "tau": TAU,
    "block_size": BLOCK_SIZE,
    "data": "footage",
}


def pack(student: Path, vae: str, output: Path) -> None:
    """Write the averaged weights of both networks.

    Args:
        vae: that the stages started from, for its sizes and the statistics of its latents.

    Raises:
        UserError: a file that cannot be read or written.
    """
    networks = Student(load_lean_vae(vae))
    parameters = dict(networks.named_parameters())
    with torch.no_grad():
        for name, value in averaged(student).items():
            parameters[name].copy_(value)
    save_lean_vae(networks.vae, output / "lean_vae", torch.float16)
    record = {**RECORD, "step": read_file(student)[0]["step"]}
    save_transformer(networks.transformer, output / "student_any_lean", record, torch.float16)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--student", type=Path, required=True)
    parser.add_argument("--vae", required=True)
    parser.add_argument("--output", type=Path, required=True)
    asked = parser.parse_args(arguments)
    try:
        pack(asked.student, asked.vae, asked.output)
    except UserError as error:
        fail(error)


if __name__ == "__main__":
    main()
