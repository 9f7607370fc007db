"""The evaluation's own keys, checked before anything is read."""

from typing import Annotated

from omegaconf import DictConfig
from pydantic import Field

from lvis.cli.schema import Count, CountOrNone, Keys, Number, Whole, conform
from lvis.errors import UserError
from lvis.metrics.ssim import WINDOW

# SSIM's window must fit
Side = Annotated[Whole, Field(ge=WINDOW)]


class ClipKeys(Keys):
    name: str
    source: str | list[str]
    count: Count | None
    frames: Count
    size: Annotated[list[Side], Field(min_length=2, max_length=2)]
    pictures: CountOrNone
    videos: CountOrNone


class ProcessKeys(Keys):
    rank: CountOrNone
    count: Count


class CompareKeys(Keys):
    method: str | None
    vae: str | None
    label: str | None


class EvaluateKeys(Keys):
    label: str
    prompt: str
    output: str
    seed: CountOrNone
    confidence: Annotated[Number, Field(gt=0, lt=1)]


def check(cfg: DictConfig) -> None:
    """The keys of `conf/evaluate.yaml`.

    Raises:
        UserError: a value out of range.
    """
    conform(EvaluateKeys, cfg, "")
    conform(ClipKeys, cfg.clips, "clips")
    conform(CompareKeys, cfg.compare_with, "compare_with")
    process = conform(ProcessKeys, cfg.process, "process")
    if process.rank >= process.count:
        raise UserError(
            f"process.rank={process.rank} is not one of process.count={process.count}; ranks go from 0 to "
            f"{process.count - 1}"
        )
