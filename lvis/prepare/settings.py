"""The keys of conf/prepare.yaml, checked once, each with the way out in its error."""

import math
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from lvis.errors import UserError

LAYOUTS = ("auto", "folder", "opensora", "mixkit", "pexels", "reds", "davis", "list")
ENCODINGS = {"h264": "mp4", "ffv1": "mkv"}
SIDE_MULTIPLE = 16  # 8 of the VAE times 2 of the transformer's patches
FRAME_MULTIPLE = 4  # T = 1 + 4 (t - 1)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to make shards of and how; see conf/prepare.yaml for what each key means.

    Raises:
        UserError: a key that is missing, of the wrong type, or at odds with another.
    """

    input: str
    output: str
    layout: str
    size: tuple[int, int]
    frames: int
    fps: Fraction | None
    folder_fps: Fraction
    stride: int
    max_clips: int | None
    scene_cuts: str
    scene_threshold: float
    encoding: str
    quality: int
    prompts: str | None
    held_out: float
    samples_per_shard: int
    seed: int
    max_pixels: int
    max_seconds: float
    workers: int
    job_index: int | None
    job_count: int | None
    merge: bool

    @classmethod
    def of(cls, keys: dict[str, Any]) -> "Settings":
        """From the composed configuration as plain dicts."""
        frames = _whole(keys, "frames", 1)
        fps = _rate(keys, "fps")
        job = keys["job"]
        settings = cls(
            input=_path(keys, "input", "a folder of videos, or a .txt .csv .json .jsonl list"),
            output=_path(keys, "output", "the folder of the shards"),
            layout=_choice(keys, "layout", LAYOUTS),
            size=_size(keys["size"]),
            frames=frames,
            fps=fps,
            folder_fps=_rate(keys, "folder_fps") or fps or Fraction(25),
            stride=_whole(keys, "stride", 1, optional=True) or frames,
            max_clips=_whole(keys, "max_clips", 1, optional=True),
            scene_cuts=_choice(keys, "scene_cuts", ("avoid", "keep")),
            scene_threshold=_number(keys, "scene_threshold", 0, 1),
            encoding=_choice(keys, "encoding", tuple(ENCODINGS)),
            quality=_whole(keys, "quality", 0, 51) or 0,
            prompts=None if keys["prompts"] is None else str(keys["prompts"]),
            held_out=_number(keys, "held_out", 0, 1),
            samples_per_shard=_whole(keys, "samples_per_shard", 1),
            seed=_whole(keys, "seed", 0),
            max_pixels=_whole(keys, "max_pixels", 1),
            max_seconds=_number(keys, "max_seconds", 0, math.inf),
            workers=_whole(keys, "workers", 1, optional=True) or len(os.sched_getaffinity(0)),
            job_index=_whole(job, "index", 0, optional=True, shown="job.index"),
            job_count=_whole(job, "count", 1, optional=True, shown="job.count"),
            merge=_flag(job, "merge", "job.merge"),
        )
        settings._check_together()
        return settings

    @property
    def extension(self) -> str:
        """Of the clips: mp4 or mkv."""
        return ENCODINGS[self.encoding]

    def recorded(self) -> dict[str, Any]:
        """Everything that decides what is in the shards, as JSON has it."""
        return {
            "input": str(Path(self.input).resolve()),
            "layout": self.layout,
            "size": list(self.size),
            "frames": self.frames,
            "fps": None if self.fps is None else str(self.fps),
            "folder_fps": str(self.folder_fps),
            "stride": self.stride,
            "max_clips": self.max_clips,
            "scene_cuts": self.scene_cuts,
            "scene_threshold": self.scene_threshold,
            "encoding": self.encoding,
            "quality": self.quality,
            "prompts": self.prompts,
            "held_out": self.held_out,
            "samples_per_shard": self.samples_per_shard,
            "seed": self.seed,
            "max_pixels": self.max_pixels,
            "max_seconds": self.max_seconds,
        }

    def _check_together(self) -> None:
        if self.frames % FRAME_MULTIPLE != 1:
            near = self.frames // FRAME_MULTIPLE * FRAME_MULTIPLE + 1
            raise UserError(
                f"frames={self.frames} is not 1 more than a multiple of {FRAME_MULTIPLE}, as the VAE "
                f"wants it; use {near} or {near + FRAME_MULTIPLE}"
            )
        if self.held_out >= 1:
            raise UserError(f"held_out={self.held_out} leaves nothing to train on; use 0.05")
        if (self.job_index is None) != (self.job_count is None):
            raise UserError("job.index and job.count go together; give both or neither")
        if self.job_index is not None and self.job_count is not None:
            if self.job_index >= self.job_count:
                raise UserError(
                    f"job.index={self.job_index} is not below job.count={self.job_count}; "
                    "jobs are counted from 0"
                )
            if self.merge:
                raise UserError("job.merge=true comes after the jobs; leave job.index out of it")
        if not Path(self.input).exists():
            raise UserError(
                f"input={self.input} does not exist; give a folder of videos or a list of them"
            )
        place, output = Path(self.input).resolve(), Path(self.output).resolve()
        if place == output or place in output.parents:
            raise UserError(
                f"output={self.output} lies in the input, which the next run would read; "
                "choose another place"
            )
        if output.exists() and not output.is_dir():
            raise UserError(f"output={self.output} is a file; name a folder")


def _path(keys: dict[str, Any], name: str, meaning: str) -> str:
    value = keys[name]
    if value is None or isinstance(value, bool | list | dict) or str(value) == "":
        raise UserError(f"{name}={value} is not a path; add {name}=PATH ({meaning})")
    return str(value)


def _choice(keys: dict[str, Any], name: str, choices: tuple[str, ...]) -> str:
    if keys[name] not in choices:
        raise UserError(f"{name}={keys[name]} is unknown; use one of {', '.join(choices)}")
    return keys[name]


def _flag(keys: dict[str, Any], name: str, shown: str) -> bool:
    if not isinstance(keys[name], bool):
        raise UserError(f"{shown}={keys[name]} must be true or false")
    return keys[name]


def _whole(
    keys: dict[str, Any],
    name: str,
    low: int,
    high: int = 2**63 - 1,
    optional: bool = False,
    shown: str | None = None,
) -> Any:
    value = keys[name]
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        bound = f"from {low} to {high}" if high < 2**63 - 1 else f"from {low} on"
        raise UserError(f"{shown or name}={value} is not a whole number {bound}; give one")
    return value


def _number(keys: dict[str, Any], name: str, low: float, high: float) -> float:
    value = keys[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UserError(f"{name}={value} is not a number from {low} to {high}; give one")
    return float(value)


def _size(value: Any) -> tuple[int, int]:
    whole = isinstance(value, list) and len(value) == 2 and all(type(side) is int for side in value)
    if not whole or min(value) < 1:
        raise UserError(f"size={value} is not a size; give size=[HEIGHT,WIDTH] in pixels")
    if any(side % SIDE_MULTIPLE for side in value):
        near = [max(1, round(side / SIDE_MULTIPLE)) * SIDE_MULTIPLE for side in value]
        raise UserError(
            f"size={value} is not in multiples of {SIDE_MULTIPLE}, as the models require; "
            f"use size=[{near[0]},{near[1]}]"
        )
    return value[0], value[1]


def _rate(keys: dict[str, Any], name: str) -> Fraction | None:
    value = keys[name]
    if value is None:
        return None
    try:
        rate = Fraction(str(value)).limit_denominator(1_000_000)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise UserError(
            f"{name}={value} is not a frame rate; give frames per second, such as 16 or 30000/1001"
        )
    return rate
