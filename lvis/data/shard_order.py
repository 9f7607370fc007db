"""The order in which the samples of shards are seen, known in advance and computable at any place."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_SHARDS, _MEMBERS, _WINDOW, _REPLACEMENT = range(4)  # one random stream for each kind of draw


@dataclass(frozen=True)
class Place:
    """Where a sample lies: number of its shard, its position in it, and the pass that asks."""

    shard: int
    position: int
    pass_number: int


class ShardOrder:
    """An endless sequence of samples: pass after pass over all shards, each in an order of its own.

    Pass p visits the shards in an order drawn from (seed, p), and the samples of a shard in an
    order drawn from (seed, p, shard); windows of `shuffle` consecutive samples are then mixed by a
    permutation drawn from (seed, p, window). All of it is a function of the sample's number, so
    that a run resumes anywhere without reading what it skips.

    Args:
        counts: Samples in each shard.
        seed: Of every draw.
        shuffle: Samples in a window; larger mixes more shards and keeps more of them open. 0 keeps
            the order of the index in every pass.
    """

    def __init__(self, counts: Sequence[int], seed: int, shuffle: int) -> None:
        self.counts = tuple(counts)
        self.offsets = np.cumsum((0, *self.counts))
        self.total = int(self.offsets[-1])
        self.seed, self.shuffle = seed, shuffle

    def at(self, number: int) -> Place:
        """Where sample `number` of the sequence lies."""
        pass_number, position = divmod(number, self.total)
        if not self.shuffle:
            shard = int(np.searchsorted(self.offsets, position, side="right")) - 1
            return Place(shard, position - int(self.offsets[shard]), pass_number)
        window, inside = divmod(position, self.shuffle)
        begin = window * self.shuffle
        length = min(self.shuffle, self.total - begin)
        position = begin + int(
            _permutation(length, self.seed, _WINDOW, pass_number, window)[inside]
        )
        shards, offsets = _shards_of_pass(self.counts, self.seed, pass_number)
        turn = int(np.searchsorted(offsets, position, side="right")) - 1
        shard = int(shards[turn])
        members = _permutation(self.counts[shard], self.seed, _MEMBERS, pass_number, shard)
        return Place(shard, int(members[position - int(offsets[turn])]), pass_number)

    def replacement(self, number: int, attempt: int) -> Place:
        """What is tried, for the `attempt`-th time, instead of a sample that cannot be used.

        Drawn from the same pass by a function of `number` alone: no other sample moves.
        """
        pass_number = number // self.total
        stream = np.random.SeedSequence(self.seed, spawn_key=(_REPLACEMENT, number, attempt))
        drawn = int(np.random.default_rng(stream).integers(self.total))
        return self.at(pass_number * self.total + drawn)

    def identity(self, place: Place) -> int:
        """The sample's number in the order of the index, the same in every pass."""
        return int(self.offsets[place.shard]) + place.position


@lru_cache(maxsize=256)
def _permutation(length: int, seed: int, *key: int) -> np.ndarray:
    stream = np.random.SeedSequence(seed, spawn_key=key)
    return np.random.default_rng(stream).permutation(length)


@lru_cache(maxsize=2)
def _shards_of_pass(
    counts: tuple[int, ...], seed: int, pass_number: int
) -> tuple[np.ndarray, np.ndarray]:
    """The shards in their order of this pass, and the number of samples before each."""
    shards = _permutation(len(counts), seed, _SHARDS, pass_number)
    return shards, np.cumsum((0, *(counts[shard] for shard in shards)))
