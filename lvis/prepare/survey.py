"""What there is to cut in each source: its content's hash, its clips, or what is wrong with it. Kept on disk."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lvis.data.frames import image_names
from lvis.errors import UserError
from lvis.files import sha256_of, write_text
from lvis.prepare.cutting import clip_starts, scenes_of
from lvis.prepare.decoding import Limits, Picture, Pictures
from lvis.prepare.scenes import CutDetector
from lvis.prepare.settings import Settings
from lvis.prepare.sources import Source

BLOCK = 64  # sources a file of the survey
UNREADABLE, TOO_SHORT, SCENES_TOO_SHORT = "unreadable", "too short", "scenes too short"


@dataclass(frozen=True)
class Surveyed:
    """What is known of a source: `starts` are the times of its clips, `rate` is the clips' frame rate.

    `stamp` tells whether the file is still the one that was surveyed. With a `problem` there are no clips.
    """

    name: str
    stamp: str
    sha256: str = ""
    starts: tuple[float, ...] = ()
    rate: str = ""
    problem: str = ""
    detail: str = ""


def survey(
    source: Source, settings: Settings, alive: Callable[[], None] = lambda: None
) -> Surveyed:
    """Read all of a source; never fails on what is wrong with it, but reports it.

    `alive` is called at every frame and may raise to end it.
    """
    limits = Limits(settings.max_pixels, settings.max_seconds)
    found = stamp(source)
    try:
        with Pictures(source.path, limits, settings.folder_fps) as pictures:
            avoid = settings.scene_cuts == "avoid"
            detector = CutDetector(settings.scene_threshold) if avoid else None
            fps = settings.fps or pictures.rate
            scenes = scenes_of(_watched(pictures, alive), detector)
        content = content_sha256(source.path)
    except (UserError, OSError) as error:
        return Surveyed(source.name, found, problem=UNREADABLE, detail=str(error))
    starts = clip_starts(scenes, settings.frames, fps, settings.stride, settings.max_clips)
    if starts:
        return Surveyed(source.name, found, content, tuple(starts), str(fps))
    longest = max((scene.last - scene.first for scene in scenes), default=0.0)
    whole = scenes[-1].last - scenes[0].first if scenes else 0.0
    asked = float((settings.frames - 1) / fps)
    return Surveyed(
        source.name,
        found,
        content,
        problem=TOO_SHORT if whole < asked else SCENES_TOO_SHORT,
        detail=f"{longest:.2f} s without a cut, a clip spans {asked:.2f} s",
    )


def _watched(pictures: Iterable[Picture], alive: Callable[[], None]) -> Iterator[Picture]:
    for picture in pictures:
        alive()
        yield picture


def content_sha256(path: Path) -> str:
    """Hex digest of a file; of a folder, of the digests of its images in order."""
    if not path.is_dir():
        return sha256_of(path)
    digests = "".join(sha256_of(path / name) for name in image_names(path))
    return hashlib.sha256(digests.encode()).hexdigest()


def stamp(source: Source) -> str:
    """Changes when the file does: its bytes and time of change; of a folder, over its files."""
    try:
        paths = sorted(source.path.iterdir()) if source.path.is_dir() else [source.path]
        facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    except OSError:
        return ""
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


class Survey:
    """The surveys of all sources, in `folder`, one file for every 64 of them.

    Jobs that share the folder share the work: each begins with its own blocks and passes over those that another
    one has written meanwhile.
    """

    def __init__(self, folder: Path, sources: Sequence[Source]) -> None:
        self.folder = folder
        self.sources = {source.name: source for source in sources}
        names = list(self.sources)
        self._blocks = [names[first : first + BLOCK] for first in range(0, len(names), BLOCK)]
        self._block_of = {name: n for n, block in enumerate(self._blocks) for name in block}
        self._stamps = {name: stamp(source) for name, source in self.sources.items()}
        self._known: dict[str, Surveyed] = {}
        for path in sorted(folder.glob("*.jsonl")):
            self._read(path)

    def entries(self) -> list[Surveyed]:
        """Of all sources by name, once none is missing."""
        return [self._known[name] for name in self.sources]

    def missing(self) -> int:
        return sum(name not in self._known for name in self.sources)

    def to_do(self, share: int = 0, of: int = 1) -> Iterator[Source]:
        """The sources without an entry, the blocks of job `share` of `of` first."""
        order = sorted(range(len(self._blocks)), key=lambda number: (number % of - share) % of)
        for number in order:
            if any(name not in self._known for name in self._blocks[number]):
                self._read(self._path(number))
            for name in self._blocks[number]:
                if name not in self._known:
                    yield self.sources[name]

    def add(self, entry: Surveyed) -> None:
        """Keep an entry; the file is written when its block is complete."""
        self._known[entry.name] = entry
        number = self._block_of[entry.name]
        self._save(number, [self._known.get(name) for name in self._blocks[number]])

    def _save(self, number: int, entries: Iterable[Surveyed | None]) -> None:
        lines = [json.dumps(asdict(entry)) for entry in entries if entry is not None]
        if len(lines) == len(self._blocks[number]):
            write_text(self._path(number), "\n".join(lines) + "\n")

    def _path(self, number: int) -> Path:
        names = "\0".join(self._blocks[number])
        return self.folder / f"{hashlib.sha256(names.encode()).hexdigest()[:16]}.jsonl"

    def _read(self, path: Path) -> None:
        if not path.is_file():
            return
        for line in path.read_text(encoding="utf-8").splitlines():
            fields = json.loads(line)
            entry = Surveyed(**{**fields, "starts": tuple(fields["starts"])})
            # a file that changed since is surveyed again
            if entry.stamp and self._stamps.get(entry.name) == entry.stamp:
                self._known[entry.name] = entry
