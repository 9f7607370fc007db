"""`python -m lvis.demo`: restore clips for three tasks, train a student for a moment, and leave a
page to look at.

The page is `<output>/index.html`. Everything on it is made by the functions that the commands run,
and it shows the commands. The keys are in conf/demo.yaml.
"""

import time
from fractions import Fraction
from pathlib import Path

from omegaconf import DictConfig

from lvis.cli.config import CONF, entry
from lvis.cli.progress import say
from lvis.demo.clips import camera_move, synthetic
from lvis.demo.page import Page, write_page
from lvis.demo.pictures import write_teaser
from lvis.demo.restorations import restore_clip
from lvis.demo.training import Trained, train_for
from lvis.errors import UserError
from lvis.provenance import facts


def demo(cfg: DictConfig) -> Path:
    """Make the page; returns the path of its index.html.

    Raises:
        UserError: a value out of its range, missing weights, or a folder that cannot be written.
    """
    check(cfg)
    began = time.perf_counter()
    folder = Path(cfg.output)
    # a page is there when all that it shows is
    (folder / "index.html").unlink(missing_ok=True)
    media, rate, overrides = folder / "media", Fraction(str(cfg.clips.rate)), list(cfg.overrides)
    shape = (cfg.clips.frames, cfg.clips.size, rate)
    clips = [
        synthetic(media, cfg.seed, cfg.clips.number, *shape),
        camera_move(media, cfg.clips.photograph, *shape),
    ]
    restored = []
    jobs = [(task, clip) for task in cfg.tasks for clip in clips]
    for number, (task, clip) in enumerate(jobs, 1):
        say(f"{number} of {len(jobs)}: {task}, {clip.name} clip")
        restored.append(
            restore_clip(clip, task, media, cfg.vae, cfg.seed, cfg.clips.enlarge, overrides)
        )
    if cfg.teaser:
        rows = [found.frames for found in restored if found.clip is clips[0]]
        say(f"teaser: {write_teaser(Path(cfg.teaser), rows, cfg.clips.enlarge)}")
    trained = train(cfg, folder / "training", overrides) if cfg.training.seconds else None
    seconds = time.perf_counter() - began
    path = write_page(Page(clips, restored, trained, facts(), cfg.seed, seconds), folder)
    say(f"the demo took {seconds:.0f} s; open {path.resolve()}")
    return path


def train(cfg: DictConfig, folder: Path, overrides: list[str]) -> Trained:
    """The short training of `conf/demo.yaml`."""
    training = cfg.training
    say(f"training a student for {training.task}, about {training.seconds:.0f} s")
    return train_for(
        training.seconds,
        training.first_steps,
        training.max_steps,
        training.task,
        cfg.vae,
        cfg.seed,
        folder,
        [*training.overrides, *overrides],
    )


def check(cfg: DictConfig) -> None:
    """The ranges of our own keys; the commands check theirs.

    Raises:
        UserError: names the key, its value and the fix.
    """
    if not cfg.tasks:
        raise UserError(
            "tasks=[] leaves nothing to show; name one or more, such as tasks=[inpaint]"
        )
    known = sorted(path.stem for path in (CONF / "task").glob("*.yaml"))
    for task in cfg.tasks:
        if task not in known:
            raise UserError(
                f"tasks={list(cfg.tasks)}: {task} is not a task; use {', '.join(known)}"
            )
    if cfg.clips.number < 0:
        raise UserError(f"clips.number={cfg.clips.number} is negative; use 0 or more")
    if cfg.training.seconds < 0:
        raise UserError(f"training.seconds={cfg.training.seconds} is negative; use 0 for none")
    if cfg.training.first_steps < 2 or cfg.training.max_steps < cfg.training.first_steps:
        raise UserError(
            f"training.first_steps={cfg.training.first_steps} and training.max_steps="
            f"{cfg.training.max_steps} do not fit; use 2 or more, and a maximum that is no less"
        )
    if cfg.clips.frames < 5 or cfg.clips.frames % 4 != 1:
        raise UserError(f"clips.frames={cfg.clips.frames} does not fit; use 5, 9, 13, ...")
    if any(side < 16 or side % 16 for side in cfg.clips.size):
        raise UserError(f"clips.size={list(cfg.clips.size)} does not fit; use multiples of 16")
    for key in ("rate", "enlarge"):
        if cfg.clips[key] <= 0:
            raise UserError(f"clips.{key}={cfg.clips[key]} is not positive; use 1 or more")


main = entry("demo")(demo)

if __name__ == "__main__":
    main()
