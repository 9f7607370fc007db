"""`python -m lvis.report results=DIR output=DIR`: what lvis.evaluate found, as one static page to look through.

The page is `<output>/index.html`; it needs no server. `report=wandb` publishes the same on Weights & Biases. The
keys are in conf/report.yaml.
"""

import shlex
from pathlib import Path
from typing import Annotated, Literal

from omegaconf import DictConfig
from pydantic import Field

import lvis
from lvis.cli.config import entry
from lvis.cli.progress import say
from lvis.cli.schema import CountOrNone, Keys, Number, conform
from lvis.report.page import PageSettings, write_page
from lvis.report.results import load


class ReportKeys(Keys):
    """The keys of `conf/report.yaml`."""

    results: str
    output: str
    report: Literal["page", "wandb"]
    title: str
    reference: str
    confidence: Annotated[Number, Field(gt=0, lt=1)]
    media: CountOrNone


class WandbKeys(Keys):
    """Those of `wandb`."""

    project: str
    entity: str | None


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
    conform(ReportKeys, cfg, "")
    conform(WandbKeys, cfg.wandb, "wandb")


main = entry("report")(report)
