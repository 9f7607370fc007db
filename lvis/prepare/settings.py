"""The keys of conf/prepare.yaml, checked once, each with the fix in its error."""

import math
import os
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from lvis.cli import values
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
    sample: int | None
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
    latents: bool
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
        frames = values.whole("frames", keys["frames"], 1)
        fps = _rate("fps", keys["fps"])
        job = keys["job"]
        settings = cls(
            input=values.path(
                "input", keys["input"], "a folder of videos, or a .txt .csv .json .jsonl list"
            ),
            output=values.path("output", keys["output"], "the folder of the shards"),
            layout=values.one_of("layout", keys["layout"], LAYOUTS),
            sample=_whole("sample", keys["sample"], 1),
            size=_size(keys["size"]),
            frames=frames,
            fps=fps,
            folder_fps=_rate("folder_fps", keys["folder_fps"]) or fps or Fraction(25),
            stride=_whole("stride", keys["stride"], 1) or frames,
            max_clips=_whole("max_clips", keys["max_clips"], 1),
            scene_cuts=values.one_of("scene_cuts", keys["scene_cuts"], ("avoid", "keep")),
            scene_threshold=values.number("scene_threshold", keys["scene_threshold"], 0, 1),
            encoding=values.one_of("encoding", keys["encoding"], tuple(ENCODINGS)),
            quality=values.whole("quality", keys["quality"], 0, 51),
            prompts=None if keys["prompts"] is None else str(keys["prompts"]),
            latents=values.flag("latents", keys["latents"]),
            held_out=values.number("held_out", keys["held_out"], 0, 1),
            samples_per_shard=values.whole("samples_per_shard", keys["samples_per_shard"], 1),
            seed=values.whole("seed", keys["seed"], 0),
            max_pixels=values.whole("max_pixels", keys["max_pixels"], 1),
            max_seconds=values.number("max_seconds", keys["max_seconds"], 0, math.inf),
            workers=_whole("workers", keys["workers"], 1) or len(os.sched_getaffinity(0)),
            job_index=_whole("job.index", job["index"], 0),
            job_count=_whole("job.count", job["count"], 1),
            merge=values.flag("job.merge", job["merge"]),
        )
        settings._check_together()
        return settings

    @property
    def extension(self) -> str:
        """Of the clips: mp4 or mkv."""
        return ENCODINGS[self.encoding]

    def recorded(self) -> dict[str, Any]:
        """Everything that decides what is in the shards, as JSON has it."""
        # latents lie beside the shards and have a record of their own
        left_out = ("output", "workers", "job_index", "job_count", "merge", "latents")
        found = {key: value for key, value in asdict(self).items() if key not in left_out}
        return found | {
            "input": str(Path(self.input).resolve()),
            "size": list(self.size),
            "fps": None if self.fps is None else str(self.fps),
            "folder_fps": str(self.folder_fps),
        }

    def _check_together(self) -> None:
        if self.frames % FRAME_MULTIPLE != 1:
            near = self.frames // FRAME_MULTIPLE * FRAME_MULTIPLE + 1
            raise UserError(
                f"frames={self.frames} is not 1 more than a multiple of {FRAME_MULTIPLE}, as the VAE "
                f"requires; use {near} or {near + FRAME_MULTIPLE}"
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


def _whole(name: str, value: Any, low: int) -> int | None:
    return None if value is None else values.whole(name, value, low)


def _rate(name: str, value: Any) -> Fraction | None:
    return None if value is None else values.rate(name, value)


def _size(value: Any) -> tuple[int, int]:
    sides = values.size("size", value)
    if any(side % SIDE_MULTIPLE for side in sides):
        near = [max(1, round(side / SIDE_MULTIPLE)) * SIDE_MULTIPLE for side in sides]
        raise UserError(
            f"size={value} is not in multiples of {SIDE_MULTIPLE}, as the models require; "
            f"use size=[{near[0]},{near[1]}]"
        )
    return sides
