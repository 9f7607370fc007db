"""What is compared on one clip: solvers through their streams, and two marks that frame a student."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lvis.memory import give_back_freed_memory
from lvis.metrics import Clock, psnr_frames, ssim_frames
from lvis.metrics.peak_memory import PeakMemory
from lvis.operators import LinearOperator
from lvis.solvers.base import Solver
from lvis.solvers.pinv import PinvSolver
from lvis.vae import VideoVAE

BASELINE, MEASURED, CEILING = "pinv", "D(E(y))", "D(E(x))"
STUDENT = "student"
# one table has the columns of all solvers that its rows name, in this order
METHODS = (BASELINE, MEASURED, STUDENT, "avis", "avis_flash", CEILING)


@dataclass(frozen=True)
class Restoration:
    """A restored clip (1, 3, T, H, W) and what it took (None where nothing was timed).

    Attributes:
        timings: seconds per stage.
        peak_memory: bytes allocated on a CUDA device at the peak, weights included.
        memory_growth: on a CPU, bytes by which the process grew at the peak, weights not included.
        passes: forward passes of each network per frame, of solvers that count them.
    """

    video: Tensor
    seconds: float | None = None
    time_to_first_frame: float | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    peak_memory: int | None = None
    memory_growth: int | None = None
    passes: Mapping[str, float] = field(default_factory=dict)

    @property
    def clock(self) -> Clock | None:
        if self.seconds is None:
            return None
        return Clock(
            self.video.shape[2],
            self.seconds,
            self.time_to_first_frame,
            self.timings,
            self.peak_memory,
            self.memory_growth,
        )


def solve(
    solver: Solver,
    operator: LinearOperator,
    y: Tensor,
    size: tuple[int, int],
    seed: int,
    prompt: str = "",
) -> Restoration:
    """The whole measurement y (1, 3, T, H_y, W_y) through the solver's stream, block by block."""
    on_cuda = solver.device.type == "cuda"
    # what the solver before has freed and the process kept would hide this one's growth
    give_back_freed_memory()
    memory = PeakMemory(solver.device)
    with solver.open(operator, size=size, prompt=prompt, seed=seed) as stream:
        blocks = [*stream.push(y), *stream.finish()]
    return Restoration(
        torch.cat(blocks, dim=2).cpu(),
        sum(stream.timings.values()),
        stream.time_to_first_frame,
        dict(stream.timings),
        memory.peak if on_cuda else None,
        None if on_cuda else memory.peak,
        dict(stream.passes),
    )


@torch.inference_mode()
def through_vae(vae: VideoVAE, video: Tensor) -> Restoration:
    """D(E(video)): of the lifted measurement, what a student must beat; of the clean clip, what bounds it."""
    return Restoration(vae.decode(vae.encode(video)).clamp(-1, 1))


def methods_of(solver: Solver) -> tuple[str, ...]:
    """What is compared for a solver: itself, the baseline, and where it has a VAE the two marks that frame it."""
    has_vae = hasattr(solver, "vae")
    wanted = {BASELINE, solver.name} | ({MEASURED, CEILING} if has_vae else set())
    return tuple(sorted(wanted, key=lambda name: (*METHODS, name).index(name)))


@torch.inference_mode()
def compare(
    operator: LinearOperator,
    y: Tensor,
    clean: Tensor,
    solver: Solver,
    seed: int,
    prompt: str = "",
) -> dict[str, Restoration]:
    """Every method's answer for one measurement y of `clean` (1, 3, T, H, W); `operator` is the one they assume."""
    size = (clean.shape[3], clean.shape[4])
    how: dict[str, Callable[[], Restoration]] = {
        BASELINE: lambda: solve(PinvSolver(solver.device), operator, y, size, seed),
        MEASURED: lambda: through_vae(solver.vae, operator.lift(y)),  # type: ignore[attr-defined]
        CEILING: lambda: through_vae(solver.vae, clean),  # type: ignore[attr-defined]
        solver.name: lambda: solve(solver, operator, y, size, seed, prompt),
    }
    return {name: how[name]() for name in methods_of(solver)}


def scores(restored: Tensor, clean: Tensor) -> dict[str, float]:
    """PSNR (dB) and SSIM, means over frames."""
    return {
        "psnr": psnr_frames(restored, clean).mean().item(),
        "ssim": ssim_frames(restored, clean).mean().item(),
    }
