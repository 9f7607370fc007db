"""`python -m lvis.report results=DIR output=DIR`: what lvis.evaluate found, as one static page to look through.

The page is `<output>/index.html`; it needs no server. `report=wandb` publishes the same on Weights & Biases. The
keys are in conf/report.yaml.
"""

import shlex
from pathlib import Path

from omegaconf import DictConfig

import lvis
from lvis.cli.config import entry
from lvis.cli.progress import say
from lvis.errors import UserError
from lvis.report.page import PageSettings, write_page
from lvis.report.results import load


def report(cfg: DictConfig) -> Path:
    """Make the report; returns the path of the page, or of the folder of W&B's runs.

    Raises:
        UserError: a value out of its range, no results, or a folder that cannot be written.
    """
    check(cfg)
    rows, output = load(Path(cfg.results)), Path(cfg.output)
    if cfg.report == "wandb":
        from lvis.report.wandb_report import publish

        return publish(rows, output, cfg.title, cfg.wandb.project, cfg.wandb.entity, cfg.media)
    words = [f"results={cfg.results}", f"output={cfg.output}"]
    settings = PageSettings(
        title=cfg.title,
        reference=cfg.reference,
        confidence=cfg.confidence,
        media=cfg.media,
        command=shlex.join(["python", "-m", "lvis.report", *words]),
        version=lvis.__version__,
    )
    path = write_page(rows, output, settings)
    say(f"{len(rows)} results; open {path.resolve()}")
    return path


def check(cfg: DictConfig) -> None:
    """The ranges of our keys.

    Raises:
        UserError: names the key, its value and the fix.
    """
    if cfg.report not in ("page", "wandb"):
        raise UserError(f"report={cfg.report} is unknown; use page or wandb")
    if not 0 < cfg.confidence < 1:
        raise UserError(f"confidence={cfg.confidence} is out of range; use 0.95 or another in 0..1")
    if cfg.media < 0:
        raise UserError(f"media={cfg.media} is negative; use 0 for no videos")


main = entry("report")(report)

if __name__ == "__main__":
    main()
