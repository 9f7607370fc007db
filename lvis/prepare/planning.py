"""Which clip goes into which shard: a function of the sources' content and the settings only."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from lvis.data.shard_format import SPLITS, shard_name, split_of
from lvis.prepare.settings import Settings
from lvis.prepare.sources import Source
from lvis.prepare.survey import Surveyed

DUPLICATE = "duplicate"
# of what the settings do not tell: 2 has checksums in FFV1 and of every clip. Shards of another
# version are made again when their folder is continued
WRITING = 2


@dataclass(frozen=True)
class Piece:
    """Clips of one source that go into one shard: their numbers within the source and their times."""

    name: str
    path: str
    caption: str
    sha256: str
    rate: str
    numbers: tuple[int, ...]
    starts: tuple[float, ...]

    def key(self, number: int) -> str:
        """Of a sample; no part of a name that others chose."""
        return f"{self.sha256[:12]}_{number:05d}"


@dataclass(frozen=True)
class PlannedShard:
    """A shard to be made."""

    name: str
    split: str
    pieces: tuple[Piece, ...]

    @property
    def samples(self) -> int:
        return sum(len(piece.numbers) for piece in self.pieces)

    def fingerprint(self, settings: Settings) -> str:
        """Changes when anything that decides the shard's bytes does."""
        facts = [{**asdict(piece), "path": None} for piece in self.pieces]
        document = json.dumps([WRITING, self.name, facts, settings.recorded()], sort_keys=True)
        return hashlib.sha256(document.encode()).hexdigest()


@dataclass(frozen=True)
class Plan:
    """All shards, and the sources that give none with the reason."""

    shards: tuple[PlannedShard, ...]
    problems: tuple[dict[str, Any], ...]
    used: int

    def counts(self) -> Counter[str]:
        """Sources by what is wrong with them."""
        return Counter(problem["problem"] for problem in self.problems)


def plan(entries: Sequence[Surveyed], sources: Iterable[Source], settings: Settings) -> Plan:
    """Shards of `samples_per_shard` clips, the sources in an order drawn by the seed.

    Of sources with the same content the first by name is used. A source stays in its split whatever is added.
    """
    problems: list[dict[str, Any]] = []
    unique: dict[str, Surveyed] = {}
    for entry in sorted(entries, key=lambda entry: entry.name):
        if entry.problem:
            problems.append(_problem(entry.name, entry.problem, entry.detail))
        elif entry.sha256 in unique:
            same = f"the same content as {unique[entry.sha256].name}"
            problems.append(_problem(entry.name, DUPLICATE, same))
        else:
            unique[entry.sha256] = entry
    by_name = {source.name: source for source in sources}
    shards: list[PlannedShard] = []
    for split in SPLITS:
        members = [e for e in unique.values() if split_of(e.sha256, settings.held_out) == split]
        members.sort(key=lambda entry: _place(entry.sha256, settings.seed))
        clips = [(entry, number) for entry in members for number in range(len(entry.starts))]
        for first in range(0, len(clips), settings.samples_per_shard):
            chosen = clips[first : first + settings.samples_per_shard]
            name = shard_name(split, first // settings.samples_per_shard)
            shards.append(PlannedShard(name, split, _pieces(chosen, by_name)))
    return Plan(tuple(shards), tuple(problems), len(unique))


def _place(sha256: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{sha256}".encode()).hexdigest()


def _pieces(clips: Sequence[tuple[Surveyed, int]], sources: dict[str, Source]) -> tuple[Piece, ...]:
    pieces = []
    for name, group in groupby(clips, key=lambda clip: clip[0].name):
        members = list(group)
        entry, numbers = members[0][0], tuple(number for _, number in members)
        pieces.append(
            Piece(
                name=name,
                path=str(sources[name].path),
                caption=sources[name].caption,
                sha256=entry.sha256,
                rate=entry.rate,
                numbers=numbers,
                starts=tuple(entry.starts[number] for number in numbers),
            )
        )
    return tuple(pieces)


def _problem(name: str, problem: str, detail: str) -> dict[str, Any]:
    return {"source": name, "problem": problem, "detail": detail}
