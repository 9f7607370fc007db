"""What the page plays: copies of the videos that an evaluation kept, their x-t slices, and its pictures."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from lvis.data.video import open_source
from lvis.errors import UserError
from lvis.evaluate.table import Row
from lvis.evaluate.videos import CLEAN, MEASUREMENT, safe, stem, video_path
from lvis.files import replacing
from lvis.report.results import FOLDER, RUN, Section

MEDIA = "media"


@dataclass(frozen=True)
class Player:
    """One video of a board, its x-t slice, and its size in pixels; paths are absolute or of the caller's folder."""

    name: str
    video: Path
    slice: Path
    height: int
    width: int
    frames: int
    rate: float


@dataclass(frozen=True)
class ClipMedia:
    """The players of one clip (none where no videos were kept) and the pictures of its middle frame."""

    clip: str
    players: list[Player] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)


def collect(section: Section, output: Path, most: int) -> dict[str, ClipMedia]:
    """Copy what there is of each clip to `output`/media; the videos of at most `most` clips.

    Videos that cannot be read are left out: a page without them is better than none.

    Raises:
        UserError: `output` cannot be written.
    """
    media = {}
    played = 0
    for clip in section.clip_names:
        players = list(_players(section, clip, output)) if played < most else []
        played += bool(players)
        media[clip] = ClipMedia(clip, players, list(_pictures(section, clip, output)))
    return media


def videos_of(section: Section, clip: str) -> Iterator[tuple[str, Path, Row]]:
    """(name, path, row) of every kept video of a clip: the measurement, the entries' answers, the clean clip."""
    rows = [row for entry in section.entries for row in entry.rows.get(clip, [])]
    wanted = [
        (MEASUREMENT, MEASUREMENT, rows),
        *((entry.name, entry.method, entry.rows.get(clip, [])) for entry in section.entries),
        (CLEAN, CLEAN, rows),
    ]
    for title, name, candidates in wanted:
        for row in candidates:
            if (path := video_path(row[FOLDER], row, name)).is_file():
                yield title, path, row
                break


def write_slice(video: np.ndarray, path: Path) -> Path:
    """The x-t slice of frames (T, H, W, 3): their middle row over time, a picture (T, W, 3), time downwards.

    What is still draws vertical lines, what moves slanted ones; flicker and seams between blocks are horizontal.
    """
    with replacing(path) as partial:
        Image.fromarray(np.ascontiguousarray(video[:, video.shape[1] // 2])).save(partial)
    return path


def _players(section: Section, clip: str, output: Path) -> Iterator[Player]:
    for name, source, row in videos_of(section, clip):
        try:
            with open_source(str(source)) as reader:
                video = np.stack(list(reader))
                rate = float(reader.info.rate)
        except (UserError, ValueError):
            continue
        target = output / MEDIA / _prefixed(row, source.name)
        _copy(source, target)
        picture = write_slice(video, target.with_suffix(".xt.png"))
        yield Player(name, target, picture, video.shape[1], video.shape[2], len(video), rate)


def _pictures(section: Section, clip: str, output: Path) -> Iterator[Path]:
    sources = {}
    for entry in section.entries:
        for row in entry.rows.get(clip, []):
            sources[row[FOLDER] / "pictures" / f"{stem(row)}.png"] = row
    for source, row in sources.items():
        if source.is_file():
            target = output / MEDIA / _prefixed(row, source.name)
            _copy(source, target)
            yield target


def _prefixed(row: Row, name: str) -> str:
    return f"{safe(row[RUN])}_{name}" if row[RUN] else name


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as partial:
        shutil.copyfile(source, partial)
