"""`python -m lvis.demo`: evaluate the bundled students on clips they have not seen, train another
for a moment, and leave a page to look at.

The page is `<output>/index.html`, made by `lvis.report` from what `lvis.evaluate` and `lvis.train`
left in `<output>`. The keys are in conf/demo.yaml.
"""

import shutil
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lvis.cli.config import compose, entry
from lvis.cli.progress import say
from lvis.cli.schema import CountOrNone, Keys, Positive, conform
from lvis.data.samples import camera_move, synthetic
from lvis.errors import UserError
from lvis.evaluate.command import evaluate
from lvis.report.command import report
from lvis.train.command import train


class DemoKeys(Keys):
    output: str
    tasks: list[str]
    bundled: list[str]
    seed: CountOrNone


class ClipKeys(Keys):
    number: CountOrNone
    rate: Positive


class TrainingKeys(Keys):
    steps: CountOrNone


def demo(cfg: DictConfig) -> Path:
    """Make the page; returns the path of its index.html.

    Raises:
        UserError: a value out of its range, missing weights, or a folder that cannot be written.
    """
    conform(DemoKeys, cfg, "")
    conform(ClipKeys, cfg.clips, "clips")
    conform(TrainingKeys, cfg.training, "training")
    if not cfg.tasks:
        raise UserError("tasks=[] leaves nothing to show; name one or more, such as [inpaint]")
    began, folder, overrides = time.perf_counter(), Path(cfg.output), list(cfg.overrides)
    # a page is there when all that it shows is
    (folder / "index.html").unlink(missing_ok=True)
    for part in ("evaluate", "training", "media"):
        shutil.rmtree(folder / part, ignore_errors=True)
    shape = (cfg.clips.frames, cfg.clips.size, Fraction(str(cfg.clips.rate)))
    clips = [
        synthetic(folder / "clips", cfg.seed, cfg.clips.number, *shape),
        camera_move(folder / "clips", cfg.clips.photograph, *shape),
    ]
    about = {
        "output": str(folder / "evaluate"),
        "seed": cfg.seed,
        "clips.name": "demo",
        "clips.source": [str(clip.path) for clip in clips],
        "clips.frames": cfg.clips.frames,
        "clips.size": list(cfg.clips.size),
        "clips.videos": len(clips),
    }
    groups = [f"vae={cfg.vae}", *overrides]
    for task in cfg.tasks:
        say(f"{task}: measure, restore and score {len(clips)} clips")
        words = [f"task={task}", f"vae={cfg.vae}", *cfg.bundled, *overrides]
        evaluate(composed("evaluate", words, about | {"label": "bundled"}))
    if cfg.training.steps:
        student = trained(cfg, folder / "training", groups)
        about |= {"label": f"{cfg.training.steps} steps", "solver.weights": str(student)}
        evaluate(composed("evaluate", [f"task={cfg.training.task}", *groups], about))
    title = "Videos restored from their measurements, by bundled models"
    found = {"results": str(folder / "evaluate"), "output": str(folder), "title": title}
    path = report(composed("report", [], found))
    say(f"the demo took {time.perf_counter() - began:.0f} s; open {path.resolve()}")
    return path


def trained(cfg: DictConfig, folder: Path, groups: list[str]) -> Path:
    """The student of the short training of `conf/demo.yaml`.

    Raises:
        UserError: whatever `lvis.train.command.train` finds wrong.
        SystemExit: a signal ended the training.
    """
    training = cfg.training
    say(f"training a student for {training.task}, {training.steps} steps")
    words = [f"task={training.task}", *training.overrides, *groups]
    keys = {"output": str(folder), "seed": cfg.seed, "trainer.max_steps": training.steps}
    _, objects = train(composed("train", words, keys))
    if objects["exit_code"]:
        raise SystemExit(objects["exit_code"])
    return folder / "student"


def composed(config: str, overrides: list[str], values: dict[str, Any]) -> DictConfig:
    """A command's configuration with `values` as they stand, which Hydra's grammar might not read."""
    cfg = compose(config, overrides)
    for key, value in values.items():
        OmegaConf.update(cfg, key, value)
    return cfg


main = entry("demo")(demo)
