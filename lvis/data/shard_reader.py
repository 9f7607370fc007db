"""Bytes out of tar shards: the headers are scanned once, members then read at random. Nothing is decoded here."""

import os
import re
import stat
import tarfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lvis.data.shard_format import (
    EMBEDDING_EXTENSION,
    METADATA_EXTENSION,
    VIDEO_EXTENSIONS,
    Index,
    Shard,
    read_index,
)
from lvis.errors import UserError
from lvis.files import sha256_of

VERIFICATIONS = ("none", "sizes", "sha256")
EXTENSIONS = (*VIDEO_EXTENSIONS, METADATA_EXTENSION, EMBEDDING_EXTENSION)
MOST_SAMPLES = 10**6  # in a shard
MOST_OPEN = 64  # shards whose headers and file handle are kept

_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")
_SHARD_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*\.tar")


class BadData(Exception):
    """A shard or a sample that cannot be used: `name` says which, the message why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


class BadShard(BadData):
    """None of the shard's samples can be used."""


class BadSample(BadData):
    """One sample cannot be used."""


@dataclass(frozen=True)
class Extent:
    """Where a member's bytes lie in its shard."""

    offset: int
    size: int


@dataclass
class _Open:
    file: int
    keys: list[str]
    members: dict[str, dict[str, Extent]] = field(default_factory=dict)


def open_folder(folder: str | Path | None) -> tuple[Path, Index]:
    """A folder of shards as a local path, and its index.

    Raises:
        UserError: none given, a URL or a command instead of a folder, no index, or one that gives a
            shard a name or a number that none can have.
    """
    if not folder:
        raise UserError(
            "data.folder is not set: give the folder that python -m lvis.prepare wrote, data.folder=DATA"
        )
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", str(folder)):
        raise UserError(
            f"data.folder={folder} is not a folder: URLs and commands are not read, copy the shards here"
        )
    index = read_index(folder)
    for shard in index.shards:
        if not _SHARD_NAME.fullmatch(shard.name):
            raise UserError(
                f"the index names a shard {shard.name!r}, which is not a tar file in its folder: "
                "run lvis.prepare again"
            )
        if not isinstance(shard.samples, int) or not 0 <= shard.samples <= MOST_SAMPLES:
            raise UserError(
                f"the index gives {shard.name} {shard.samples!r} samples, not 0 to {MOST_SAMPLES}: "
                "run lvis.prepare again"
            )
    return Path(folder), index


class ShardReader:
    """Random access to the samples of a folder's shards, with a bounded number of them open.

    Members are plain files with the extensions of the layout; all others are passed over unread.
    A key serves to group members and is never a path.

    Args:
        folder: Of the shards.
        shards: Those that may be asked for, by their number here.
        verify: What is held against the index when a shard is opened: "sizes" its length, "sha256"
            its content too, "none" only that it holds as many samples.
    """

    def __init__(self, folder: Path, shards: Sequence[Shard], verify: str = "sizes") -> None:
        self.folder, self.shards, self.verify = folder, shards, verify
        self._open: OrderedDict[int, _Open] = OrderedDict()
        self._bad: dict[int, str] = {}

    def members(self, number: int, position: int) -> tuple[str, dict[str, Extent]]:
        """The key of the sample at `position` of shard `number`, and its members by extension.

        Raises:
            BadShard: missing, not as the index says, or no tar; the same each time it is asked for.
            BadSample: a name that is no key.
        """
        shard = self._shard(number)
        key = shard.keys[position]
        if not _KEY.fullmatch(key):
            raise BadSample(
                f"{self.shards[number].name}:{key!r}", "has a name that is not a valid sample key"
            )
        return key, shard.members[key]

    def read(self, number: int, extent: Extent) -> bytes:
        """The bytes of a member.

        Raises:
            BadShard: the shard ends before the member, or cannot be read.
        """
        try:
            content = os.pread(self._shard(number).file, extent.size, extent.offset)
        except OSError as error:
            raise BadShard(self.shards[number].name, f"cannot be read ({error})") from error
        if len(content) < extent.size:
            raise BadShard(self.shards[number].name, "became shorter while it was read")
        return content

    def close(self) -> None:
        """Let go of every shard."""
        while self._open:
            os.close(self._open.popitem()[1].file)

    def _shard(self, number: int) -> _Open:
        if number in self._bad:
            raise BadShard(self.shards[number].name, self._bad[number])
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        try:
            opened = self._scan(number)
        except BadShard as error:
            self._bad[number] = str(error)
            raise
        if len(self._open) >= MOST_OPEN:
            os.close(self._open.popitem(last=False)[1].file)
        self._open[number] = opened
        return opened

    def _scan(self, number: int) -> _Open:
        shard = self.shards[number]
        path = self.folder / shard.name
        try:
            # a fifo of this name would otherwise wait for its writer
            file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise BadShard(shard.name, reason.lower()) from error
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise BadShard(shard.name, "is not a plain file")
            if self.verify != "none" and found.st_size != shard.bytes:
                raise BadShard(
                    shard.name, f"has {found.st_size} bytes where the index says {shard.bytes}"
                )
            if self.verify == "sha256" and sha256_of(path) != shard.sha256:
                raise BadShard(shard.name, "has a different sha256 from the index")
            opened = _Open(file, *_directory(shard.name, file, found.st_size))
            if len(opened.keys) != shard.samples:
                raise BadShard(
                    shard.name,
                    f"holds {len(opened.keys)} samples where the index says {shard.samples}",
                )
        except BaseException:
            os.close(file)
            raise
        return opened


def _directory(name: str, file: int, size: int) -> tuple[list[str], dict[str, dict[str, Extent]]]:
    """The keys that have a video, in the order of the tar, and the members of every key.

    Reads the 512-byte headers only: what a header declares is never loaded here, extended headers
    included.
    """
    members: dict[str, dict[str, Extent]] = {}
    offset = 0
    while offset < size:
        try:
            header = os.pread(file, tarfile.BLOCKSIZE, offset)
            if header == tarfile.NUL * tarfile.BLOCKSIZE:
                break  # the mark of a tar's end
            entry = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, OSError) as error:
            raise BadShard(name, f"is not a tar file at byte {offset} ({error})") from error
        begin = offset + tarfile.BLOCKSIZE
        if entry.size < 0 or begin + entry.size > size:
            raise BadShard(name, f"declares {entry.size} bytes at byte {offset}, past its end")
        offset = begin + -(-entry.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        # the first dot of the last part, as webdataset splits names
        folder, slash, base = entry.name.rpartition("/")
        stem, _, extension = base.partition(".")
        if entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and extension in EXTENSIONS:
            members.setdefault(folder + slash + stem, {})[extension] = Extent(begin, entry.size)
    keys = [key for key, found in members.items() if any(e in found for e in VIDEO_EXTENSIONS)]
    return keys, members
