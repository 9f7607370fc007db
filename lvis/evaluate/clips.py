"""Clean clips to measure and restore: held-out synthetic ones, or real ones from files, folders and shards."""

import shutil
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from torch import Tensor

from lvis.data.frames import IMAGE_SUFFIXES, fit_to, to_video
from lvis.data.numbering import natural_key
from lvis.data.shard_format import HELD_OUT, INDEX, read_index
from lvis.data.synthetic import SyntheticVideos
from lvis.data.video import open_source
from lvis.errors import UserError
from lvis.evaluate.contents import content_digest

SYNTHETIC_CLIPS = 8
VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")


@dataclass(frozen=True)
class NamedClip:
    """A clip that is read when it is asked for: `load()` gives (1, 3, T, H, W) in [-1, 1].

    `content()` is a digest of the file or folder it comes from; "" of synthetic ones, which their name and seed tell.
    """

    name: str
    load: Callable[[], Tensor]
    content: Callable[[], str] = str


def list_clips(
    source: str | Sequence[str], count: int | None, frames: int, size: tuple[int, int], seed: int
) -> list[NamedClip]:
    """The clips of a source, none of them read yet.

    Args:
        source: "synthetic" (the held-out split), or any of: videos, folders of frames, folders of
            videos and of folders of frames, REDS (its sharp validation sequences), what
            lvis.prepare wrote (the clips held out), tar shards with videos in them. A clip is the first `frames`
            frames of each, scaled and centre-cropped to `size`.
        count: use the first N; None for all, or 8 synthetic clips.

    Raises:
        UserError: a path that is not there, a folder or shard without videos, fewer clips than `count`, two clips of
            one name; when loaded, a video that is unreadable or shorter than `frames`.
    """
    if source == "synthetic":
        videos = SyntheticVideos(seed, frames, size, "val", length=count or SYNTHETIC_CLIPS)
        return [
            NamedClip(f"synthetic-{index}", partial(_synthetic, videos, index))
            for index in range(len(videos))
        ]
    paths = [source] if isinstance(source, str) else source
    if not paths:
        raise UserError("clips.source=[] is empty; give videos, folders or shards")
    found = [clip for path in paths for clip in _expand(str(path), frames, size)]
    if count is not None and len(found) < count:
        raise UserError(
            f"clips.count={count}: clips.source has {len(found)}; lower it, or give null for all of them"
        )
    clips = found[:count]
    twice = [name for name, times in Counter(clip.name for clip in clips).items() if times > 1]
    if twice:
        raise UserError(
            f"clips.source: two clips are called {twice[0]}; rename one, because rows are distinguished by name"
        )
    return clips


def _synthetic(videos: SyntheticVideos, index: int) -> Tensor:
    return videos[index]["video"][None]


def _expand(path: str, frames: int, size: tuple[int, int]) -> list[NamedClip]:
    place = Path(path)
    if not place.exists():
        raise UserError(
            f"clips.source: {path} does not exist; give a video, a folder or a tar shard that does"
        )
    if place.suffix == ".tar":
        return _of_shard(place, frames, size)
    if not place.is_dir() or _holds_images(place):
        return [NamedClip(place.stem, partial(_read, path, path, frames, size), _content(place))]
    if (place / INDEX).is_file():
        shards = read_index(place).of(HELD_OUT)
        return [clip for shard in shards for clip in _of_shard(place / shard.name, frames, size)]
    place = _sharp_sequences(place)
    inside = sorted(
        (p for p in place.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES or _holds_images(p)),
        key=lambda p: natural_key(p.name),
    )
    if not inside:
        raise UserError(
            f"clips.source: {path} holds neither videos nor frames; give a folder that does"
        )
    return [
        NamedClip(p.stem, partial(_read, str(p), str(p), frames, size), _content(p)) for p in inside
    ]


def _sharp_sequences(place: Path) -> Path:
    """Of REDS, whose root has no clips of its own, the sharp validation sequences; others as they are."""
    inside = (place / "val" / "val_sharp", place / "val_sharp")
    return next((folder for folder in inside if folder.is_dir()), place)


def _of_shard(shard: Path, frames: int, size: tuple[int, int]) -> list[NamedClip]:
    try:
        with tarfile.open(shard) as archive:
            names = [member.name for member in archive if _is_video(member)]
    except (OSError, tarfile.TarError) as error:
        raise UserError(f"clips.source: {shard} is not a readable tar shard ({error})") from error
    if not names:
        raise UserError(
            f"clips.source: {shard} has no videos ({', '.join(VIDEO_SUFFIXES)}) in it; give one with"
        )
    return [
        NamedClip(
            Path(name).stem, partial(_read_member, shard, name, frames, size), _content(shard, name)
        )
        for name in names
    ]


def _content(path: Path, *inside: str) -> Callable[[], str]:
    return lambda: ":".join((content_digest(path), *inside))


def _is_video(member: tarfile.TarInfo) -> bool:
    # a sparse file of a few bytes may unpack to terabytes
    return (
        member.isfile()
        and not member.issparse()
        and Path(member.name).suffix.lower() in VIDEO_SUFFIXES
    )


def _read_member(shard: Path, name: str, frames: int, size: tuple[int, int]) -> Tensor:
    # the member's name is never a path of ours: it could lead anywhere
    with tempfile.NamedTemporaryFile(suffix=Path(name).suffix) as file:
        with tarfile.open(shard) as archive:
            member = next(one for one in archive if one.name == name and _is_video(one))
            content = archive.extractfile(member)
            assert content is not None
            shutil.copyfileobj(content, file)
        file.flush()
        return _read(file.name, f"{shard}:{name}", frames, size)


def _read(path: str, shown: str, frames: int, size: tuple[int, int]) -> Tensor:
    with open_source(path) as reader:
        taken = [fit_to(frame[None], size)[0] for frame in islice(iter(reader), frames)]
    if len(taken) < frames:
        raise UserError(
            f"clips.source: {shown} has {len(taken)} frames, clips.frames={frames} asks for more; lower it"
        )
    return to_video(taken)


def _holds_images(path: Path) -> bool:
    return path.is_dir() and any(p.suffix.lower() in IMAGE_SUFFIXES for p in path.iterdir())
