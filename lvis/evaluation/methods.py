"""What is compared on one clip: solvers through their streams, and two marks that frame a student."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lvis.metrics import psnr_frames, ssim_frames
from lvis.operators import LinearOperator
from lvis.solvers.base import Solver
from lvis.vae import VideoVAE


@dataclass(frozen=True)
class Restoration:
    """A restored clip (1, 3, T, H, W) and how long it took (None where nothing was timed)."""

    video: Tensor
    seconds: float | None = None
    time_to_first_frame: float | None = None


def solve(
    solver: Solver, operator: LinearOperator, y: Tensor, size: tuple[int, int], seed: int
) -> Restoration:
    """The whole measurement y (1, 3, T, H_y, W_y) through the solver's stream, block by block."""
    with solver.open(operator, size=size, seed=seed) as stream:
        blocks = [*stream.push(y), *stream.finish()]
    return Restoration(
        torch.cat(blocks, dim=2).cpu(), sum(stream.timings.values()), stream.time_to_first_frame
    )


@torch.inference_mode()
def through_vae(vae: VideoVAE, video: Tensor) -> Restoration:
    """D(E(video)): of the lifted measurement, what a student must beat; of the clean clip, what bounds it."""
    return Restoration(vae.decode(vae.encode(video)).clamp(-1, 1))


def scores(restored: Tensor, clean: Tensor) -> dict[str, float]:
    """PSNR (dB) and SSIM, means over frames."""
    return {
        "psnr": psnr_frames(restored, clean).mean().item(),
        "ssim": ssim_frames(restored, clean).mean().item(),
    }
