"""What a measurement tells of itself: how far its file can be trusted, its noise, its blur."""

import copy
from dataclasses import replace

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from lvis.cli.build import build
from lvis.cli.progress import say
from lvis.data.frames import VideoInfo, to_video
from lvis.data.video import open_source
from lvis.errors import UserError
from lvis.operators import LinearOperator
from lvis.restore.blur import estimated_blur
from lvis.restore.masks import needs_mask
from lvis.restore.settings import Settings
from lvis.solvers.base import Solver
from lvis.solvers.blocks import block_frames
from lvis.solvers.consistency import EIGHT_BITS, LOSSY
from lvis.solvers.shrinkage import estimated_noise

AUTO = "auto"
# of the estimated width: a blur that is taken to be too wide rings, one too narrow restores less
CAUTION = 0.95
NARROWEST = 0.7


def trusting(solver: Solver, info: VideoInfo, floor: float | None) -> Solver:
    """`solver` as it should take the measurements of one source, its networks shared.

    Args:
        info: of the source.
        floor: the user's; None takes `LOSSY` for a lossy source, with a sentence, and `EIGHT_BITS`
            for others.
    """
    if floor is not None or not info.lossy or solver.consistency is None:
        return solver
    say(
        f"the input is lossily compressed: its errors count as noise of {LOSSY}; "
        f"for a file of very high quality, set floor={EIGHT_BITS}"
    )
    trusting_less = copy.copy(solver)
    trusting_less.consistency = replace(solver.consistency, floor=LOSSY)
    return trusting_less


def operator_of(cfg: DictConfig, settings: Settings) -> LinearOperator:
    """The task's operator; a `noise_std` or `sigma` that is "auto" is estimated from the first block
    of the measurement, with a sentence that gives the number.

    Raises:
        UserError: as of `build`, or auto where nothing can be estimated.
    """
    config = cfg.task.operator.copy()
    asked = [key for key in ("noise_std", "sigma") if config.get(key) == AUTO]
    if not asked:
        return _built(config)
    for key, number in (("noise_std", 0.0), ("sigma", 1.0)):
        if key in asked:
            OmegaConf.update(config, key, number)
    operator = _built(config)
    name = f"task.operator.{asked[0]}"
    if reason := _no_estimate(operator, settings):
        raise UserError(f"{name}=auto {reason}; give {name} as a number")
    video, lossy = _first_block(settings)
    if "sigma" in asked:
        OmegaConf.update(config, "sigma", _sigma(video, LOSSY if lossy else EIGHT_BITS))
        operator = _built(config)
    if "noise_std" in asked:
        operator.noise_std = max(estimated_noise(video), EIGHT_BITS)
        say(f"estimated noise: standard deviation {operator.noise_std:.4f} of [-1, 1]")
    return operator


def _sigma(video: Tensor, floor: float) -> float:
    found = estimated_blur(video, floor)
    if found is None:
        raise UserError(
            "task.operator.sigma=auto finds too little detail above the noise to estimate the blur; "
            "give task.operator.sigma as a number of pixels"
        )
    sigma = CAUTION * found
    if sigma < NARROWEST:
        say(
            f"the video is about as sharp as a camera leaves it (sigma {found:.2f} pixels); little is changed"
        )
        return NARROWEST
    say(f"estimated blur: sigma {found:.2f} pixels, of which {sigma:.2f} is inverted")
    return sigma


def _first_block(settings: Settings) -> tuple[Tensor, bool]:
    frames = []
    with open_source(
        settings.input, None, settings.raw_rate, settings.max_pixels, settings.deinterlace
    ) as source:
        for frame in source:
            frames.append(frame)
            if len(frames) == block_frames(3)[0]:
                break
        return to_video(frames), source.info.lossy


def _no_estimate(operator: LinearOperator, settings: Settings) -> str | None:
    if settings.degrade:
        return "is for measurements, and degrade=true makes its own"
    if settings.input == "-":
        return "reads the first frames twice, which a pipe does not allow"
    if needs_mask(operator):
        return "cannot tell noise from the holes of a mask"
    return None


def _built(config: DictConfig) -> LinearOperator:
    operator: LinearOperator = build(config)
    return operator
