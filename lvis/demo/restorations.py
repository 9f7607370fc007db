"""One clip measured and restored: by `lvis.restore`, and by what frames the student."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate

from lvis.cli.config import compose, plain
from lvis.data.frames import to_frames, to_video
from lvis.data.video import open_source
from lvis.demo.clips import DemoClip
from lvis.demo.commands import override, shell_command
from lvis.demo.pictures import write_strip
from lvis.evaluate.methods import scores, through_vae
from lvis.metrics import PSNR, SSIM
from lvis.operators import LinearOperator
from lvis.restore.command import realised, restore, sizes
from lvis.restore.measuring import Observation, Observer, blocks_of
from lvis.restore.settings import Settings

METHODS = ("measurement", "pinv", "D(E(y))", "student")
CEILING = "D(E(x))"  # the clean clip through the VAE: no answer in its latent space is much nearer


@dataclass(frozen=True)
class Score:
    """PSNR in dB and SSIM, means over frames."""

    psnr: float
    ssim: float


@dataclass(frozen=True)
class Restored:
    """A clip restored for a task.

    Attributes:
        scores: of each of `METHODS`, and of the `CEILING`.
        rate: frames per second, reading and writing included.
        first_frame: seconds until the first block was restored.
        still, video: measurement, pinv, student and clean clip side by side, .png and .mp4.
        frames: the same as uint8 (T, H, W, 3) each.
    """

    task: str
    clip: DemoClip
    command: str
    scores: dict[str, Score]
    rate: float
    first_frame: float
    still: Path
    video: Path
    frames: dict[str, np.ndarray] = field(repr=False)


def restore_clip(
    clip: DemoClip,
    task: str,
    folder: Path,
    vae_name: str,
    seed: int,
    enlarge: int,
    overrides: list[str],
) -> Restored:
    """Measure and restore one clip, score it, and write its pictures to `folder`.

    Raises:
        UserError: no such task, weights that are missing, or a folder that cannot be written.
    """
    name = f"{task}_{clip.name}"
    output = folder / f"{name}_restored.mkv"
    chosen = [
        override("input", clip.path),
        override("task", task),
        override("vae", vae_name),
        "degrade=true",
        "overwrite=true",
        override("prompt", clip.prompt),
        override("seed", seed),
        override("output", output),
        override("report", folder / f"{name}.json"),
        *overrides,
    ]
    cfg = compose("restore", chosen)
    outcome = restore(cfg)
    settings = Settings.of(plain(cfg))
    observed = observe(settings, instantiate(cfg.task.operator), cfg.model.block_size)
    assert observed.inverse is not None and observed.clean is not None
    vae = instantiate(cfg.vae.module)
    found = {name: Score(means[PSNR], means[SSIM]) for name, means in outcome.scores.items()}
    for method, shown in (("D(E(y))", observed.visible), (CEILING, observed.clean)):
        found[method] = Score(**scores(through_vae(vae, shown).video, observed.clean))
    with open_source(str(output)) as source:
        rate, student = source.info.rate, np.stack(list(source))
    frames = {
        "measurement": to_frames(observed.visible),
        "pinv": to_frames(observed.inverse),
        "student": student,
        "clean": to_frames(observed.clean),
    }
    still, video = write_strip(frames, folder, name, rate, enlarge)
    return Restored(
        task,
        clip,
        shell_command("lvis.restore", chosen),
        {method: found[method] for method in (*METHODS, CEILING)},
        outcome.rate,
        outcome.time_to_first_frame,
        still,
        video,
        frames,
    )


def observe(settings: Settings, operator: LinearOperator, block_size: int) -> Observation:
    """What `restore` measured of these settings' input, its pseudo-inverse and the clean clip."""
    with open_source(settings.input) as source:
        _, size = sizes(source.info, operator, settings)
        fixed = realised(operator, size, settings)
        generator = torch.Generator().manual_seed(settings.seed)
        observer = Observer(fixed, generator, degrade=True, invert=True)
        whole = not fixed.streamable
        blocks = [observer(to_video(frames)) for frames in blocks_of(source, block_size, whole)]
    parts = ("measurement", "visible", "inverse", "clean")
    return Observation(
        **{part: torch.cat([getattr(block, part) for block in blocks], dim=2) for part in parts}
    )
