"""The videos and photographs of a folder: what each holds, where it comes from, and which are held out."""

import fnmatch
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from lvis.data.colour import is_sideways, upright_rgb
from lvis.data.frames import DEFAULT_RATE, IMAGE_SUFFIXES
from lvis.errors import UserError, reason_of
from lvis.untrusted import MOST_PIXELS, limit_decoder, open_image, open_video

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts"),
    *(".flv", ".wmv", ".3gp", ".ogv", ".y4m"),
)
HOLD_OUT = ("hash", "source")

LONG = 512  # frames from which on a window is found by its time and not by counting from the first frame
_HEAD = 2**16  # bytes of a file that are hashed, with its length: enough to tell files apart
_EXIF_ORIENTATION, _SIDEWAYS = 274, (5, 6, 7, 8)


@dataclass(frozen=True)
class MediaFile:
    """A file of the folder.

    `name` is its path below the folder, `source` what it was taken from, `height` and `width` are in
    pixels as displayed, `frames` is 1 for a photograph, `digest` in [0, 1) is a hash of its content.
    """

    name: str
    source: str
    path: Path
    height: int
    width: int
    frames: int
    digest: float
    caption: str = ""

    @property
    def is_photograph(self) -> bool:
        return self.frames == 1

    @property
    def bytes(self) -> int:
        """Of all frames as uint8 RGB."""
        return 3 * self.height * self.width * self.frames


def find_footage(folder: str | None, exclude: Sequence[str] = ()) -> list[MediaFile]:
    """The videos and photographs at any depth, by name; what cannot be read is logged and left out.

    Only headers are read. The source of a file is the part of its name before `__` where there is one,
    else the folder that holds it. `<name>.txt` beside a file is its caption. Hidden files and folders are
    skipped, and so are those whose path has a part that matches a pattern of `exclude`.

    Raises:
        UserError: no folder, or nothing in it can be read.
    """
    if folder is None:
        raise UserError(
            "data.folder is not set: give a folder of videos and photographs, data.folder=DIR"
        )
    root = Path(folder)
    if not root.is_dir():
        raise UserError(
            f"data.folder={folder} is not a folder; give a folder of videos and photographs"
        )
    found: list[MediaFile] = []
    problems: list[str] = []
    for path in _media(root, exclude):
        try:
            found.append(_look(root, path))
        except (UserError, av.FFmpegError, OSError, ValueError) as error:
            reason = str(error) if isinstance(error, UserError) else f"{path}: {reason_of(error)}"
            log.warning("left out: %s", reason)
            problems.append(reason)
    if not found:
        why = f"{len(problems)} unreadable, first: {problems[0]}" if problems else "none found"
        raise UserError(
            f"data.folder={folder} has no readable video or photograph ({why}); "
            "give a folder of .mp4, .mkv, .jpg, .png or similar files"
        )
    return found


def held_out_names(files: Sequence[MediaFile], share: float, by: str) -> set[str]:
    """The names of the files kept for validation: about `share` of them, at least one.

    `by="hash"` goes by a hash of each file's content, `by="source"` by a hash of the source's name, so that all
    files of a source stay together. Neither changes for a file when others are added, except that the lowest
    hash is taken where none falls below `share`.

    Raises:
        UserError: an unknown `by`, or nothing would be left to train on.
    """
    if by not in HOLD_OUT:
        raise UserError(f"data.hold_out is {by!r}: use one of {', '.join(HOLD_OUT)}.")
    keys = {file.name: file.digest if by == "hash" else _hash(file.source) for file in files}
    limit = max(share, min(keys.values()) * (1 + 1e-12))
    names = {name for name, key in keys.items() if key <= limit}
    if len(names) == len(files):
        raise UserError(
            f"data.hold_out={by} leaves nothing to train on: lower data.held_out={share}, "
            "add files, use data.hold_out=hash, or data.val_clips=0 to hold out none"
        )
    return names


def read_window(path: Path, start: int, frames: int | None = None) -> Iterator[np.ndarray]:
    """Frames `start`, `start` + 1, ... of a video, uint8 (H, W, 3) RGB, upright: `frames` of them or all.

    Beyond `LONG` frames decoding begins at the keyframe before, and a frame's number is its time times the mean
    rate. One thread: the worker processes share the cores.

    Raises:
        UserError: not a readable video, or it ends or breaks before.
    """
    given = 0
    try:
        with open_video(path) as container:
            stream = container.streams.video[0]
            limit_decoder(path, stream)
            stream.thread_type, stream.codec_context.thread_count = "NONE", 1
            rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
            begins = stream.start_time or 0
            position = 0
            seeks = start >= LONG and stream.time_base is not None
            if seeks:
                assert stream.time_base is not None
                seconds = float(start / rate)
                container.seek(begins + int(seconds / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                if seeks and not position and frame.pts is not None and stream.time_base:
                    position = round(float((frame.pts - begins) * stream.time_base * rate))
                if position >= start:
                    yield upright_rgb(frame)
                    given += 1
                    if given == frames:
                        return
                position += 1
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise UserError(f"{path} cannot be decoded ({reason_of(error)}); remove it") from error
    if frames is not None and not given:
        raise UserError(f"{path} ends before its header says; remove it")


def _media(root: Path, exclude: Sequence[str]) -> Iterator[Path]:
    def shown(name: str) -> bool:
        return not name.startswith(".") and not any(fnmatch.fnmatch(name, e) for e in exclude)

    for folder, children, files in os.walk(root):
        children[:] = sorted(name for name in children if shown(name))
        for name in sorted(filter(shown, files)):
            if name.lower().endswith(VIDEO_SUFFIXES + IMAGE_SUFFIXES):
                yield Path(folder) / name


def _look(root: Path, path: Path) -> MediaFile:
    name = path.relative_to(root).as_posix()
    source = path.stem.split("__")[0] if "__" in path.stem else path.parent.relative_to(root.parent)
    look = _look_at_video if path.name.lower().endswith(VIDEO_SUFFIXES) else _look_at_image
    height, width, frames = look(path)
    beside = path.with_suffix(".txt")
    caption = (
        beside.read_text(encoding="utf-8", errors="replace").strip() if beside.is_file() else ""
    )
    return MediaFile(name, str(source), path, height, width, frames, _digest(path), caption)


def _look_at_image(path: Path) -> tuple[int, int, int]:
    with open_image(path) as image:
        width, height = image.size
        if image.getexif().get(_EXIF_ORIENTATION) in _SIDEWAYS:
            width, height = height, width
    return height, width, 1


def _look_at_video(path: Path) -> tuple[int, int, int]:
    with open_video(path, MOST_PIXELS) as container:
        if not container.streams.video:
            raise UserError(f"{path} has no video stream")
        stream = container.streams.video[0]
        limit_decoder(path, stream)
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        first = next(container.decode(stream), None)
        if first is None:
            raise UserError(f"{path} has no frames")
        frames = stream.frames
        if not frames and container.duration:
            rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
            frames = int(container.duration * rate / av.time_base)
        size = (first.height, first.width)
        if is_sideways(first):
            size = (first.width, first.height)
    return *size, max(frames, 1)


def _digest(path: Path) -> float:
    with path.open("rb") as file:
        return _hash(file.read(_HEAD) + str(path.stat().st_size).encode())


def _hash(content: bytes | str) -> float:
    raw = content.encode() if isinstance(content, str) else content
    return int.from_bytes(hashlib.sha256(raw).digest()[:6], "big") / 2**48
