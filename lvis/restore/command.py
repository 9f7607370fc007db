"""`python -m lvis.restore input=clip.mp4 task=deblur output=restored.mp4`: restore a measurement,
block by block.

A video file, a folder of frames or raw frames on standard input go in; a video file, a folder of
PNGs or raw frames on standard output come out, in constant memory. With degrade=true the input is a
clean clip: it is measured first, and PSNR and SSIM are reported. The keys are in conf/restore.yaml.
"""

import contextlib
import json
import signal
from dataclasses import asdict

import torch
from omegaconf import DictConfig
from rich.table import Table

from lvis.cli.config import entry, plain
from lvis.cli.progress import console, say
from lvis.data.frames import VideoInfo
from lvis.data.video import open_source
from lvis.errors import UserError
from lvis.files import write_text
from lvis.operators import LinearOperator
from lvis.restore.masks import needs_mask, with_mask
from lvis.restore.measuring import measurable_size
from lvis.restore.run import Outcome, Run, Size
from lvis.restore.settings import Settings
from lvis.restore.unknowns import operator_of, trusting
from lvis.solvers.build import build_solver


def restore(cfg: DictConfig) -> Outcome:
    """Restore one clip as the composed configuration says, and write what it asks for.

    Raises:
        UserError: whatever is wrong with the input, the keys, the weights or the place to write to;
            the outputs are then as they were before.
    """
    settings = Settings.of(plain(cfg))
    with contextlib.ExitStack() as exits:
        source = exits.enter_context(
            open_source(
                settings.input,
                settings.raw_size,
                settings.raw_rate,
                settings.max_pixels,
                settings.deinterlace,
            )
        )
        operator = operator_of(cfg, settings)
        size, solved_size = sizes(source.info, operator, settings)
        operator = realised(operator, solved_size, settings, source.info.count)
        solver = build_solver(cfg)
        if not settings.degrade:
            solver = trusting(solver, source.info, cfg.floor)
        stream = exits.enter_context(
            solver.open(operator, solved_size, prompt=settings.prompt, seed=settings.seed)
        )
        with Run(settings, source.info, size, solver, stream) as run:
            outcome = run.through(source)
    report(outcome, settings)
    return outcome


def sizes(info: VideoInfo, operator: LinearOperator, settings: Settings) -> tuple[Size, Size]:
    """(H, W) of the output, and of x as the operator can measure it (at least as large).

    Raises:
        UserError: a measurement that is given in pixels and an operator on latents.
    """
    given = (info.height, info.width)
    if settings.degrade:
        size = settings.size or given
        return size, measurable_size(operator, size)
    if operator.space == "latent":
        raise UserError(
            "a mask on latents cannot have made this measurement; "
            "add degrade=true or choose task=inpaint"
        )
    shape = operator.video_shape((1, 3, 1, *given))
    return (shape[-2], shape[-1]), (shape[-2], shape[-1])


def realised(
    operator: LinearOperator, size: Size, settings: Settings, count: int | None = None
) -> LinearOperator:
    """The operator with its mask, if it has one: the user's, or in degrade mode a random one.

    Raises:
        UserError: a real measurement without its mask, or a mask that does not fit.
    """
    if settings.mask is not None:
        operator = with_mask(operator, settings.mask, size, count)
    elif not settings.degrade and needs_mask(operator):
        raise UserError(
            "this task needs the mask that the measurement was made with; add mask=PATH, "
            "an image, a folder of images or a video, white where pixels were observed"
        )
    shape: tuple[int, ...] = (1, 3, 1, *size)
    if operator.space == "latent":
        shape = (1, 16, 1, *(-(-side // 16) * 2 for side in size))
    return operator.realise(shape, torch.Generator().manual_seed(settings.seed))


def report(outcome: Outcome, settings: Settings) -> None:
    """Say on standard error what was done, and write the JSON that report=PATH asks for."""
    stages = ", ".join(f"{name} {spent:.1f} s" for name, spent in outcome.timings.items() if spent)
    say(
        f"restored {outcome.frames} frames at {outcome.rate:.1f} frames/s, first frame after "
        f"{outcome.time_to_first_frame:.2f} s ({stages}); wrote {settings.output}"
    )
    if not outcome.scores:
        return
    protocols = list(dict.fromkeys(name for means in outcome.scores.values() for name in means))
    table = Table("against the clean clip", *protocols)
    for variant, means in outcome.scores.items():
        table.add_row(variant, *(f"{means[protocol]:.3f}" for protocol in protocols))
    console.print(table)
    if settings.report:
        write_text(settings.report, json.dumps(asdict(outcome), indent=2) + "\n")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    # a terminated run must clean up as an interrupted one does
    # (SIGHUP is that of a closed terminal; nohup has it ignored, which stays so)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _interrupt)
    entry("restore")(restore)()
