"""One student for many operators, tried beyond its training: python experiments/real/universal.py --videos DIR

The bundled student of `task=any` on the clips of DIR (128x224, noise 0.02, 8 bits): parameters and a family of
operators that its training never drew, operators that are not the one that measured, and known operators of which
its channels say nothing. Mean PSNR over the clips, as Markdown.
"""

import argparse
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[at]) for at in (1, 2)]

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from lvis.data.frames import to_frames, to_video  # noqa: E402
from lvis.markdown import markdown_table  # noqa: E402
from lvis.metrics import Suite  # noqa: E402
from lvis.operators import (  # noqa: E402
    Downsampling,
    GaussianBlur,
    Inpainting,
    LinearOperator,
    TemporalAverage,
)
from lvis.restorer import Restorer  # noqa: E402
from real.measurements import find_clips, read_clip  # noqa: E402
from real.methods import restored  # noqa: E402

NOISE, PSNR = 0.02, "psnr_rgb_frame_mean"


class MotionBlur(LinearOperator):
    """The mean of `length` pixels along a row; only A is given, as a user's own operator may."""

    streamable = True

    def __init__(self, length: int = 9, **options: float) -> None:
        super().__init__(**options)
        self.length = length

    def forward(self, x: Tensor) -> Tensor:
        before = self.length // 2
        sides = (before, self.length - 1 - before, 0, 0, 0, 0)
        padded = torch.nn.functional.pad(x, sides, mode="replicate")
        return padded.unfold(-1, self.length, 1).mean(-1)


def unannounced(operator: LinearOperator) -> LinearOperator:
    """The same operator, of which the student's channels say nothing."""
    operator.known = False
    return operator


# what measured, what the solver is given, and how the training knew it
Case = tuple[str, str, Callable[[], LinearOperator], Callable[[], LinearOperator]]


def case(kind: str, name: str, true: Callable, assumed: Callable | None = None) -> Case:
    return kind, name, true, assumed or true


def blur(sigma: float) -> Callable[[], LinearOperator]:
    return lambda: GaussianBlur(sigma=sigma, noise_std=NOISE)


def x4() -> LinearOperator:
    return Downsampling(4, "cubic", noise_std=NOISE)


def mask() -> LinearOperator:
    return Inpainting(0.5, noise_std=NOISE)


CASES = (
    case("drawn in training", "blur 3", blur(3)),
    case("drawn in training", "x4", x4),
    case("drawn in training", "half of the pixels", mask),
    case("parameters beyond it", "blur 7 (trained: 0.8 to 5)", blur(7)),
    case(
        "parameters beyond it",
        "x16 (trained: 2 to 8)",
        lambda: Downsampling(16, "average", noise_std=NOISE),
    ),
    case(
        "parameters beyond it",
        "mean of 12 frames (trained: 2 to 7)",
        lambda: TemporalAverage(12, noise_std=NOISE),
    ),
    case(
        "a family beyond it",
        "motion blur of 9 pixels, only A given",
        lambda: MotionBlur(noise_std=NOISE),
    ),
    case("mismatched operator", "blur 3 as blur 2.5", blur(3), blur(2.5)),
    case("mismatched operator", "blur 3 as blur 3.5", blur(3), blur(3.5)),
    case("channels dropped", "blur 3", blur(3), lambda: unannounced(blur(3)())),
    case("channels dropped", "x4", x4, lambda: unannounced(x4())),
    case("channels dropped", "half of the pixels", mask, lambda: unannounced(mask())),
)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    read = {
        name: read_clip(path, "shrunk", asked.frames)
        for name, path in find_clips(asked.videos).items()
    }
    clips = {name: clip for name, clip in read.items() if clip is not None}
    solvers = {
        strength: Restorer.from_pretrained(
            "small", task="deblur", overrides=[f"solver.strength={strength}"]
        ).solver
        for strength in (0, 1)
    }
    suite, lines = Suite((PSNR,)), []
    for kind, name, true, assumed in CASES:
        scores: dict[int, list[float]] = {0: [], 1: []}
        for clip, clean in clips.items():
            seed = zlib.crc32(clip.encode())
            measuring, given = (
                build().realise(clean.shape, torch.Generator().manual_seed(seed))
                for build in (true, assumed)
            )
            noise = torch.Generator().manual_seed(seed)
            y = to_video(to_frames(measuring.measure(clean, noise)))
            for strength, solver in solvers.items():
                video = restored(solver, given, y)
                value = suite.clip(video, clean).values[suite.column(suite.metrics[0])]
                assert value is not None
                scores[strength].append(value)
        gains = [after - before for before, after in zip(*scores.values(), strict=True)]
        before, after = (sum(values) / len(values) for values in scores.values())
        cells = f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}", f"{min(gains):+.2f}"
        lines.append([kind, name, *cells])
        print(*lines[-1], file=sys.stderr, flush=True)
    header = ("operator", "", "first estimate", "student", "gain", "least of the clips")
    print(markdown_table(header, lines))


if __name__ == "__main__":
    main()
