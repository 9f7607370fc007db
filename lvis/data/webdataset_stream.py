"""Batches of clips from webdataset shards, local or over HTTP, read through the webdataset library."""

import hashlib
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import webdataset as wds
from torch.utils.data import get_worker_info

from lvis.data.shard_decode import DecodeError
from lvis.data.shards import ENDLESS, Budget, Counts, collate
from lvis.data.steps import Steps
from lvis.data.webdataset_decode import EXTENSIONS, decode_sample
from lvis.errors import UserError

SCHEMES = ("", "file", "http", "https")


@dataclass(frozen=True)
class ClipSettings:
    """What is made of each sample (`decode_sample`), and the budget of unusable ones."""

    size: tuple[int, int]
    frames: int
    rate: float | None
    budget: Budget


def expand(urls: str | Sequence[str], key: str = "data.urls") -> list[str]:
    """The shards that brace patterns such as `clips-{000..099}.tar` name, in their order.

    Raises:
        UserError: none, a scheme that is not read (`pipe:` would run a command), a file that does
            not exist, or no curl for HTTP.
    """
    patterns = [urls] if isinstance(urls, str) else list(urls)
    shards = [url for pattern in patterns for url in wds.shardlists.expand_urls(str(pattern))]
    if not shards or not all(shards):
        raise UserError(f"{key} names no shards: give paths or URLs, as in clips-{{000..099}}.tar")
    for shard in shards:
        parts = urlparse(shard)
        if parts.scheme not in SCHEMES:
            raise UserError(
                f"{key} has {shard}: only local files and http(s) URLs are read; mount or serve the others"
            )
        if parts.scheme.startswith("http"):
            if shutil.which("curl") is None:
                raise UserError(
                    f"{key} has {shard}, and webdataset reads URLs with curl: install it"
                )
        elif not Path(unquote(parts.path) if parts.scheme else shard).is_file():
            raise UserError(f"{key} names {shard}, which does not exist or is not a file")
    return shards


class WebDatasetStream(Steps):
    """Whole batches in the order of the steps, made by readers that have a share of the shards each.

    A reader is a worker of a rank. With `resampled` it draws shards with replacement; otherwise
    each pass deals the shards, in an order drawn from (seed, pass), to the readers, so that every
    shard is read once per pass. A buffer of `shuffle` samples, still encoded, mixes neighbours.
    All of it follows from the seed, the number of ranks and that of workers: beginning at sample n, a
    reader passes over those before without decoding them.

    A sample that cannot be used is replaced by the next one, which then comes again in its own place.

    Batches are those of `ShardStream`; "index" is a hash of the shard's name and the sample's key.

    Args:
        urls: From `expand`.
        clips: What is made of a sample.
        seed, shuffle, resampled: Of the order.
        batch_size, rank, world_size: See `Steps`.

    Raises:
        UserError: while iterating, the budget is used up, or the shards hold no sample.
    """

    def __init__(
        self,
        urls: Sequence[str],
        clips: ClipSettings,
        seed: int = 0,
        shuffle: int = 0,
        resampled: bool = False,
        batch_size: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(ENDLESS, batch_size, rank, world_size)
        self.urls, self.clips = list(urls), clips
        self.seed, self.shuffle, self.resampled = seed, shuffle, resampled

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        place, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        reading = Reading(self.clips)
        # DataLoader begins with worker 0, whichever reader's turn step `start` is
        start = self.first // (self.batch_size * self.world_size)
        turn = (start + place) % workers
        done = len(range(turn, start, workers))
        number, readers = self.rank + self.world_size * turn, self.world_size * workers
        try:
            raw = self._passes(number, readers, reading.shard_failed)
            samples = reading.decoded(islice(raw, done * self.batch_size, None))
            while batch := list(islice(samples, self.batch_size)):
                yield {**collate(batch), **reading.report(place)}
        except UserError as error:
            if worker is None:
                raise
            yield {"error": str(error), "reports": reading.report(place)["reports"]}

    def _passes(
        self, number: int, readers: int, failed: Callable[[Exception], bool]
    ) -> Iterator[dict[str, Any]]:
        if self.resampled:
            shards = wds.shardlists.ResampledShards(
                self.urls, seed=self.seed, worker_seed=lambda: number, deterministic=True
            )
            yield from self._mixed(shards, f"{self.seed} {number}", failed)
        for turn in count():
            urls = list(self.urls)
            random.Random(f"{self.seed} {turn}").shuffle(urls)
            mine = wds.shardlists.SimpleShardList(urls[number::readers])
            empty = True
            for sample in self._mixed(mine, f"{self.seed} {number} {turn}", failed):
                empty = False
                yield sample
            if empty:
                raise UserError(f"{', '.join(mine.urls)} hold no samples: check data.urls")

    def _mixed(
        self, shards: Any, draw: str, failed: Callable[[Exception], bool]
    ) -> Iterator[dict[str, Any]]:
        pipeline = wds.DataPipeline(shards, read_samples(failed))
        if self.shuffle:
            pipeline.append(wds.shuffle(self.shuffle, rng=random.Random(draw)))
        return iter(pipeline)


class Validation(Steps):
    """The first `clips` usable samples of the shards, in order, one per batch; ranks without one repeat the first."""

    def __init__(
        self,
        urls: Sequence[str],
        settings: ClipSettings,
        clips: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(clips, 1, rank, world_size, to_the_end=True)
        self.urls, self.clips = list(urls), settings

    def __iter__(self) -> Iterator[dict[str, Any]]:
        reading = Reading(self.clips)
        shards = wds.shardlists.SimpleShardList(self.urls)
        raw = iter(wds.DataPipeline(shards, read_samples(reading.shard_failed)))
        samples = reading.decoded(raw, replace=False)
        left = self.samples
        while left > 0:
            # every rank reads what all of them use, so that none waits for a batch that never comes
            together = list(islice(samples, min(self.world_size, left)))
            if not together:
                return
            left -= self.world_size
            mine = together[self.rank] if self.rank < len(together) else together[0]
            repeat = {"repeat": True} if self.rank >= len(together) else {}
            yield {**collate([mine]), **repeat, **reading.report(0)}


class Reading:
    """One iteration's counts, and what was found unusable."""

    def __init__(self, clips: ClipSettings) -> None:
        self.clips = clips
        self.counts, self.failed_shards, self.shards = Counts(), 0, set[str]()
        self._reports: dict[str, str] = {}

    def decoded(
        self, raw: Iterator[dict[str, Any]], replace: bool = True
    ) -> Iterator[dict[str, Any]]:
        """The clips; one that cannot be used is replaced by the next, or left out."""
        owed = 1
        began = time.perf_counter()
        for sample in raw:
            self.shards.add(sample["__url__"])
            self.counts.drawn += 1
            shard = sample["__url__"].rpartition("/")[2]
            name = f"{shard}:{sample['__key__']}"
            try:
                clip = decode_sample(sample, self.clips.size, self.clips.frames, self.clips.rate)
            except DecodeError as error:
                self.counts.bad += 1
                self._reports.setdefault(name, str(error))
                self.clips.budget.check(self.counts, f"{name} {error}")
                owed += replace
                continue
            clip["index"] = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
            self.counts.bytes += sum(len(sample[e]) for e in EXTENSIONS if e in sample)
            self.counts.clips += owed
            self.counts.seconds += time.perf_counter() - began
            for _ in range(owed):
                yield clip
            owed, began = 1, time.perf_counter()

    def shard_failed(self, error: Exception) -> bool:
        """webdataset's handler: goes on with the next shard while few of them fail.

        Raises:
            UserError: too many did.
        """
        if isinstance(error, UserError):
            raise error
        url = next((str(part) for part in reversed(error.args) if ".tar" in str(part)), "a shard")
        status = re.search(r"exit (\d+)", str(error))
        reason = f"curl's exit status is {status[1]}" if status else str(error.args[0])[:200]
        self.failed_shards += 1
        self._reports[url] = f"cannot be read ({reason})"
        if self.failed_shards > self.clips.budget.share * (len(self.shards) + self.failed_shards):
            raise UserError(
                f"{url} cannot be read ({reason}), and data.max_bad={self.clips.budget.share} allows "
                "no more such shards: check data.urls and the server, or raise data.max_bad"
            )
        return True

    def report(self, worker: int) -> dict[str, Any]:
        """The counts so far, and what was found unusable since this was last asked."""
        reports, self._reports = list(self._reports.items()), {}
        return {"loader": {"worker": worker, **asdict(self.counts)}, "reports": reports}


def read_samples(failed: Callable[[Exception], bool]) -> Any:
    """The pipeline stage that opens shards and yields their samples as bytes; other extensions are not read."""
    return wds.tarfile_to_samples(handler=failed, select_files=_is_read)


def _is_read(name: str) -> bool:
    return name.rpartition("/")[2].partition(".")[2].lower() in EXTENSIONS
