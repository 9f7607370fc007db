"""`python -m lvis.warp input=clip.mp4 depth=depth.npz camera.yaw=10 camera.orbit=4 output=DIR`: a clip as
another camera would see it.

Writes DIR/warped.mkv, with holes where nothing was filmed, and DIR/mask.mkv, white where something was: the
measurement and the mask of `lvis.restore task=inpaint` (AVIS, appendix A.2). The keys are in conf/warp.yaml.
"""

import contextlib
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, repeat
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, ListConfig

from lvis.cli import values
from lvis.cli.config import entry
from lvis.cli.progress import FrameProgress, say
from lvis.data.frames import VideoInfo
from lvis.data.video import check_output_name, open_sink, open_source
from lvis.errors import UserError
from lvis.files import check_free
from lvis.operators.mask_files import load_mask
from lvis.warp import Pinhole, Trajectory, View, backward_warp, forward_warp
from lvis.warp.arrays import depth_frames, warp_frames

FORMATS = ("mkv", "mp4")


@dataclass(frozen=True)
class Warped:
    """What was written: the measurement and its mask, the number of frames, the share of places without content."""

    video: Path
    mask: Path
    frames: int
    holes: float


def warp(cfg: DictConfig) -> Warped:
    """Warp one clip as the composed configuration says.

    Raises:
        UserError: a key, a file or a size that is wrong; the outputs are then as they were before.
    """
    check(cfg)
    folder = Path(cfg.output)
    video, mask = folder / f"warped.{cfg.format}", folder / "mask.mkv"
    for path in (video, mask):
        check_output_name(str(path))
        check_free(path, cfg.overwrite)
        given = [cfg.input, cfg.depth, cfg.warp, cfg.mask]
        if path.resolve() in {Path(name).resolve() for name in given if name}:
            raise UserError(f"{path} is both read and written; name another output")
    with contextlib.ExitStack() as exits:
        source = exits.enter_context(open_source(cfg.input))
        view_of = viewer(cfg, source.info)
        sound = None if Path(cfg.input).is_dir() else cfg.input
        sink = exits.enter_context(open_sink(str(video), source.info, cfg.quality, sound))
        mask_sink = exits.enter_context(open_sink(str(mask), source.info))
        progress = exits.enter_context(FrameProgress(source.info.count))
        missing = 0.0
        for frame in source:
            view = view_of(frame)
            sink.write(view.frame)
            white = np.uint8(255) * view.observed.astype(np.uint8)
            mask_sink.write(np.repeat(white[..., None], 3, axis=-1))
            missing += 1 - float(view.observed.mean())
            progress.advance(1)
    for name, notes in ((cfg.input, source.notes), (str(video), sink.notes)):
        for note in dict.fromkeys(notes):
            say(f"{name}: {note}")
    warped = Warped(video, mask, progress.frames, missing / progress.frames)
    words = [f"input={video}", "task=inpaint", f"mask={mask}", "solver=avis", "output=OUT.mp4"]
    say(
        f"{warped.frames} frames, {warped.holes:.1%} of them holes; fill them with: "
        f"python -m lvis.restore {shlex.join(words)}"
    )
    return warped


def viewer(cfg: DictConfig, info: VideoInfo) -> Callable[[np.ndarray], View]:
    """What turns the clip's frames, in order, into views.

    Raises:
        UserError: files that are missing or do not fit, at once or when the clip is longer than they are.
    """
    size = (info.height, info.width)
    kept = _mask_frames(cfg.mask, size)
    if cfg.warp is not None:
        positions = warp_frames(cfg.warp, size)
        return lambda frame: backward_warp(frame, _next(positions, cfg.warp)).within(
            _next(kept, cfg.mask)
        )
    limits = None if cfg.depth_range is None else (cfg.depth_range[0], cfg.depth_range[1])
    depths = depth_frames(cfg.depth, size, cfg.depth_meaning, limits)
    camera = lens(cfg, info)
    keys = cfg.camera
    path = Trajectory(keys.yaw, keys.pitch, tuple(keys.translate), keys.orbit, keys.frames)
    poses = (path.pose(number) for number in count())

    def seen(frame: np.ndarray) -> View:
        depth = _next(depths, cfg.depth)
        return forward_warp(frame, depth, camera, next(poses), cfg.depth_jump).within(
            _next(kept, cfg.mask)
        )

    return seen


def lens(cfg: DictConfig, info: VideoInfo) -> Pinhole:
    """The camera of both views."""
    if cfg.camera.focal is not None:
        return Pinhole(info.height, info.width, cfg.camera.focal)
    return Pinhole.with_field_of_view(info.height, info.width, cfg.camera.fov)


def check(cfg: DictConfig) -> None:
    """The presence and the types of our keys; files and geometry are checked where they are read.

    Raises:
        UserError: names the key, its value and the fix.
    """
    values.path("input", cfg.input, "a video or a folder of frames")
    values.path("output", cfg.output, "the folder of the warped video and its mask")
    if cfg.input == "-":
        raise UserError("input=- cannot be warped; give a video or a folder of frames")
    if (cfg.depth is None) == (cfg.warp is None):
        raise UserError(
            "give one of depth=PATH (with camera.yaw=..., ...) and warp=PATH: "
            "the depth of what was filmed, or where each pixel of the new view was"
        )
    values.one_of("format", cfg.format, FORMATS)
    values.whole("quality", cfg.quality, 0, 51)
    if type(cfg.camera.frames) is not int:
        raise UserError(f"camera.frames={cfg.camera.frames} is not a whole number; give one")
    numbers = {f"camera.{key}": cfg.camera[key] for key in ("fov", "yaw", "pitch")}
    optional = {f"camera.{key}": cfg.camera[key] for key in ("focal", "orbit")}
    numbers |= {key: value for key, value in optional.items() if value is not None}
    for key, value in {**numbers, "depth_jump": cfg.depth_jump}.items():
        if not _is_number(value) or (key == "depth_jump" and value < 0):
            raise UserError(f"{key}={value} is not a number that it can take; see conf/warp.yaml")
    _check_list("camera.translate", cfg.camera.translate, 3, "[RIGHT,DOWN,FORWARD]")
    if cfg.depth_range is not None:
        _check_list("depth_range", cfg.depth_range, 2, "[NEAR,FAR]")


def _check_list(key: str, value: object, length: int, form: str) -> None:
    fits = isinstance(value, ListConfig) and len(value) == length and all(map(_is_number, value))
    if not fits:
        raise UserError(f"{key}={value} is not {length} numbers; give {key}={form}")


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < float("inf")  # type: ignore[arg-type]


def _mask_frames(path: str | None, size: tuple[int, int]) -> Iterator[np.ndarray]:
    if path is None:
        return repeat(np.ones(size, bool))
    mask = load_mask(path)[0, 0].numpy()
    if mask.shape[1:] != size:
        raise UserError(
            f"the mask {path} is {mask.shape[2]}x{mask.shape[1]} and the video is "
            f"{size[1]}x{size[0]}; give one of its size"
        )
    return repeat(mask[0]) if len(mask) == 1 else iter(mask)


def _next(frames: Iterator[np.ndarray], path: str) -> np.ndarray:
    found = next(frames, None)
    if found is None:
        raise UserError(
            f"{path} ends before the video; give one frame of it for each, or one for all"
        )
    return found


main = entry("warp")(warp)
