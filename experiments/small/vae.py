"""The VAE of `small` on footage:

    python experiments/small/vae.py --footage DIR --minutes 45 --output DIR

Run it again to go on. It writes `vae.pt` and, at the end, `lean_vae/`, which the student starts from.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[at]) for at in (1, 2)]

import torch  # noqa: E402

from lvis.cli.config import fail  # noqa: E402
from lvis.errors import UserError  # noqa: E402
from lvis.pretrain.autoencoder import (  # noqa: E402
    latent_statistics,
    reconstruction_loss,
    reconstruction_psnr,
)
from lvis.pretrain.schedule import optimizers  # noqa: E402
from lvis.vae import LeanVAE  # noqa: E402
from lvis.weights import save_lean_vae  # noqa: E402
from small.clips import Clips  # noqa: E402
from small.loop import Length, Schedule, Training  # noqa: E402
from small.options import common, length_of  # noqa: E402

SIZES: dict[str, Any] = {
    "low_width": 48,
    "high_width": 144,
    "branch_layers": 1,
    "fusion_layers": 2,
    "ista_iter_num": 1,
    "ista_layers": 1,
}
# clips per batch, frames, side: six of ten steps, two and two
SHAPES = [(4, 17, 96)] * 6 + [(1, 33, 128)] * 2 + [(2, 9, 128)] * 2
HELD_OUT = (16, 17, 192)
STATISTICS = (2, 17, 128)
STATISTICS_BATCHES = 40


def train(
    footage: Path,
    output: Path,
    length: Length,
    *,
    schedule: Schedule | None = None,
    sizes: dict[str, Any] | None = None,
    shapes: list[tuple[int, int, int]] | None = None,
    held_out: tuple[int, int, int] = HELD_OUT,
    statistics: tuple[int, int, int] = STATISTICS,
    stop_after: int | None = None,
) -> None:
    """The stage as shipped; the other arguments are for a test.

    Raises:
        UserError: as `lvis.data.Footage`.
    """
    torch.manual_seed(0)
    shapes = shapes or SHAPES
    vae = LeanVAE(latent_dim=16, **(sizes or SIZES))
    vae.encode_dtype = vae.decode_dtype = torch.bfloat16
    clips = Clips(footage, [*shapes, statistics])
    training = Training(
        vae.named_parameters(),
        optimizers(vae.named_parameters(), adamw_rate=2e-3, muon_rate=0.02),
        length,
        schedule or Schedule(warmup=100, ema_most=0.999, ema_delay=20, report_every=150),
        output / "vae.pt",
    )
    reconstruct = reconstruction_loss(
        vae, latent_noise=0.05, frames_as_images=False, l1_weight=0.05, chroma_weight=2.0
    )
    score = reconstruction_psnr(vae, [{"video": clip} for clip in clips.held_out(*held_out)])

    def loss_of(number: int) -> torch.Tensor:
        torch.manual_seed(number)  # of the noise in the latents
        return reconstruct({"video": clips.batch(shapes[number % len(shapes)], number)})["loss"]

    training.run(loss_of, lambda: f"held-out PSNR {score()['psnr']:.2f} dB", stop_after)
    if stop_after is None:
        videos = [
            clip
            for number in range(STATISTICS_BATCHES)
            for clip in clips.batch(statistics, 10**6 + number)
        ]
        vae.set_statistics(*latent_statistics(vae, videos))
        save_lean_vae(vae, output / "lean_vae")


def main(arguments: list[str] | None = None) -> None:
    parser = common(argparse.ArgumentParser(description=__doc__))
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    try:
        train(asked.footage, asked.output, length_of(asked))
    except UserError as error:
        fail(error)


if __name__ == "__main__":
    main()
