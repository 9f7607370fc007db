"""The student of `small`, trained together with its VAE:

    python experiments/small/student.py --footage DIR --vae DIR/lean_vae --minutes 55 --output DIR

Run it again to go on. `--start` begins another stage from the averaged weights of an earlier one. It writes
`student.pt`, which pack.py turns into weights.
"""

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[at]) for at in (1, 2)]

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from lvis.cli.config import fail  # noqa: E402
from lvis.errors import UserError  # noqa: E402
from lvis.operators import Inpainting, LinearOperator  # noqa: E402
from lvis.operators.families import AnyOperator  # noqa: E402
from lvis.pretrain.schedule import optimizers  # noqa: E402
from lvis.weights import load_lean_vae  # noqa: E402
from small.clips import Clips  # noqa: E402
from small.gains import validation  # noqa: E402
from small.loop import Length, Schedule, Training, averaged  # noqa: E402
from small.network import Student  # noqa: E402
from small.options import common, length_of  # noqa: E402

# clips per batch, frames, side
SHAPES = [(2, 17, 96), (2, 17, 96), (1, 21, 144), (1, 33, 96)]
HELD_OUT = (8, 21, 192)
MICRO_BATCHES = 2
BLIND_EVERY = 11
# errors that count as none, so that clips that are easy do not take over
LEAST_ERROR = 2e-5
# of x_init through the VAE
VAE_WEIGHT, VAE_LEAST_ERROR = 0.1, 1e-4


def train(
    footage: Path,
    vae: str,
    output: Path,
    length: Length,
    *,
    start: Path | None = None,
    seed: int = 0,
    schedule: Schedule | None = None,
    shapes: list[tuple[int, int, int]] | None = None,
    held_out: tuple[int, int, int] = HELD_OUT,
    stop_after: int | None = None,
) -> None:
    """One stage; shapes and held_out are for a test.

    Raises:
        UserError: as `lvis.data.Footage`, or weights that cannot be read.
    """
    torch.manual_seed(0)
    shapes = shapes or SHAPES
    student = Student(load_lean_vae(vae))
    parameters = dict(student.named_parameters())
    if start is not None:
        with torch.no_grad():
            for name, value in averaged(start).items():
                parameters[name].copy_(value)
    clips, family = Clips(footage, shapes, seed), AnyOperator()
    training = Training(
        parameters.items(),
        [
            *optimizers(
                student.transformer.named_parameters(),
                adamw_rate=2e-3,
                muon_rate=0.02,
                adamw_only=("text_embedder", "attn2", "condition_embedder"),
            ),
            *optimizers(student.vae.named_parameters(), adamw_rate=5e-4, muon_rate=0.005),
        ],
        length,
        schedule or Schedule(micro_batches=MICRO_BATCHES),
        output / "student.pt",
    )

    def loss_of(number: int) -> Tensor:
        clean = clips.batch(shapes[number % len(shapes)], number)
        return supervised(student, family, clean, number, seed)

    validate = validation(student, clips.held_out(*held_out))
    training.run(loss_of, validate, stop_after)


def supervised(
    student: Student, family: AnyOperator, clean: Tensor, number: int, seed: int
) -> Tensor:
    """Mean logarithm of the squared errors of clips (B, 3, T, H, W), whose operator follows from `number`."""
    generator = torch.Generator().manual_seed(number + 10**9 * seed)
    operator = family.realise(tuple(clean.shape), generator)
    with torch.no_grad():
        y = operator.measure(clean, generator)
        if operator.noise_std == 0:
            y = eight_bits(y)
    blind = number % BLIND_EVERY == BLIND_EVERY - 1 and could_be_unknown(operator, y, clean)
    restored, estimate, through_vae = student(operator, y, blind)
    errors = (restored - clean).square().mean(dim=(1, 2, 3, 4))
    drift = (through_vae - estimate).square().mean()
    loss = torch.log(errors + LEAST_ERROR).mean()
    return loss + VAE_WEIGHT * torch.log(drift + VAE_LEAST_ERROR)


def could_be_unknown(operator: LinearOperator, y: Tensor, clean: Tensor) -> bool:
    """Whether y is a video that can be restored without a word of how it was made."""
    return y.shape == clean.shape and not isinstance(operator, Inpainting)


def eight_bits(y: Tensor) -> Tensor:
    return ((y.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def main(arguments: list[str] | None = None) -> None:
    parser = common(argparse.ArgumentParser(description=__doc__))
    parser.add_argument(
        "--vae", required=True, help="lean_vae of vae.py, or bundled:small/lean_vae"
    )
    parser.add_argument("--start", type=Path, help="student.pt of an earlier stage")
    parser.add_argument("--rate", type=float, default=1.0, help="scales the learning rates")
    parser.add_argument("--seed", type=int, default=0, help="of the clips; another for each stage")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    try:
        train(
            asked.footage,
            asked.vae,
            asked.output,
            length_of(asked),
            start=asked.start,
            seed=asked.seed,
            schedule=Schedule(rate=asked.rate, micro_batches=MICRO_BATCHES),
        )
    except UserError as error:
        fail(error)


if __name__ == "__main__":
    main()
