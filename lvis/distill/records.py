"""What a training run leaves behind to look at: metrics.jsonl, the chosen logger, side-by-side
clips."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from PIL import Image
from torch import Tensor

from lvis.data.frames import to_frames
from lvis.data.video import VideoWriter
from lvis.distill.wandb_runs import finish_run
from lvis.files import replacing, write_text

CLIP_RATE = Fraction(16)  # frames per second of the clips, Wan's own
GAP = 2  # white pixels between two videos side by side


class Journal:
    """One JSON object per line; the same numbers go to the loggers.

    It writes nothing until `begin`, which only the first process calls.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.active = False
        self.loggers: list[Logger] = []

    def begin(self, step: int, loggers: list[Logger]) -> None:
        """Continue the file, and the loggers' own, at `step`: lines of later steps, written after the
        checkpoint, are taken out."""
        self.active, self.loggers = True, loggers
        kept: list[str] = []
        if self.path.exists():
            # bytes that a disk has damaged cost their line
            lines = self.path.read_text("utf-8", errors="replace").splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
            write_text(self.path, "".join(line + "\n" for line in kept))
        for logger in loggers:
            if isinstance(logger, TensorBoardLogger):
                logger._kwargs["purge_step"] = step + 1
            elif isinstance(logger, CSVLogger):  # begins its file anew
                for line in map(json.loads, kept):
                    metrics, at = _of_line(line)
                    logger.log_metrics(dict(metrics), at)

    def close(self) -> None:
        """Have the loggers write what they hold; a W&B run ends, so that the next job has its own."""
        for logger in self.loggers:
            logger.finalize("success")
            if isinstance(logger, WandbLogger):
                finish_run()

    def add(self, step: int, kind: str, metrics: dict[str, float]) -> None:
        """A line of `kind` ("train" or "validation") after `step` training steps."""
        if not self.active:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # a number that is not finite is no JSON
        finite = {k: v if np.isfinite(v) else None for k, v in metrics.items()}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "kind": kind, **finite}) + "\n")
        for logger in self.loggers:
            logger.log_metrics({f"{kind}/{name}": value for name, value in metrics.items()}, step)

    def add_clip(self, step: int, name: str, video: Path, picture: Path) -> None:
        """A clip for the loggers that show media."""
        for logger in self.loggers:
            if isinstance(logger, WandbLogger):
                import wandb

                shown = wandb.Video(str(video), format="mp4")
                logger.experiment.log({name: shown, "trainer/global_step": step})
            elif isinstance(logger, TensorBoardLogger):
                pixels = np.asarray(Image.open(picture))
                logger.experiment.add_image(name, pixels, step, dataformats="HWC")


def _of_line(line: dict[str, Any]) -> tuple[dict[str, float], int]:
    """A line as loggers get it: the metrics under their kind, and the step."""
    metrics = {k: v for k, v in line.items() if k not in ("step", "kind") and v is not None}
    return {f"{line['kind']}/{name}": value for name, value in metrics.items()}, line["step"]


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_side_by_side(videos: list[Tensor], folder: Path, name: str) -> tuple[Path, Path]:
    """Videos (1, 3, T, H, W) in [-1, 1] side by side: an .mp4, and a .png of first, middle and last
    frame."""
    strips = [to_frames(video.clamp(-1, 1)) for video in videos]
    height = strips[0].shape[1]
    gap = np.full((len(strips[0]), height, GAP, 3), 255, np.uint8)
    columns = [part for strip in strips for part in (strip, gap)][:-1]
    frames = np.concatenate(columns, axis=2)
    clip, picture = folder / f"{name}.mp4", folder / f"{name}.png"
    with VideoWriter(clip, CLIP_RATE) as writer:
        for frame in frames:
            writer.write(frame)
    shown = np.concatenate([frames[0], frames[len(frames) // 2], frames[-1]], axis=0)
    with replacing(picture) as partial:
        Image.fromarray(shown).save(partial)
    return clip, picture


def _step_of(line: str) -> float:
    """inf of a line cut off by a crash, or damaged."""
    try:
        found = json.loads(line)
        whole = isinstance(found["step"], int) and isinstance(found["kind"], str)
        numbers = all(v is None or isinstance(v, int | float | str) for v in found.values())
        return found["step"] if whole and numbers else float("inf")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return float("inf")
