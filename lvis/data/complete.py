"""Whether a video file holds all the bytes that its own header, index or framing promises."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import av

from lvis.errors import UserError

# RFC 8794 (EBML) and RFC 9559 (Matroska)
_EBML_HEADER, _SEGMENT = 0x1A45DFA3, 0x18538067
_SYNC_BYTE = 0x47  # ISO/IEC 13818-1: the first of each transport packet
# bytes per packet: transport stream, with Blu-ray's time stamp, with error correction; where it is in it
_PACKETS = ((188, 0), (192, 4), (204, 0))
_FLV_TAGS = (8, 9, 18)  # sound, pictures, script


def check_complete(path: Path, stream: av.VideoStream) -> None:
    """Raises UserError when the file is shorter than its index (mp4, mov), its header (mkv, webm, avi) or the
    boxes of its fragments say."""
    indexed = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
    if stream.container.format.name == "flv":
        indexed = 0  # of what FFmpeg has read so far
    end = max(indexed, matroska_end(path), _riff_end(path), _boxes_end(path))
    size = path.stat().st_size
    if end > size:
        raise UserError(
            f"{path} is cut short ({size} of at least {end} bytes); copy or download it again"
        )


def signs_of_a_cut(path: Path, container: str) -> list[str]:
    """A sentence if a stream without a length of its own (transport stream, FLV) ends inside a packet."""
    ends_inside = {"mpegts": _ends_inside_a_packet, "flv": _ends_inside_a_tag}.get(container)
    if ends_inside is None or not ends_inside(path):
        return []
    return ["it ends inside a packet, so it has been cut off; what is there is restored"]


def matroska_end(path: Path) -> int:
    """Bytes that a Matroska file's segment says it reaches to; 0 of other files and of live recordings."""
    with open(path, "rb") as file:
        if _element_id(file) != _EBML_HEADER:
            return 0
        file.seek(_element_size(file) or 0, 1)
        if _element_id(file) != _SEGMENT:
            return 0
        size = _element_size(file)
        return 0 if size is None else file.tell() + size


def _riff_end(path: Path) -> int:
    """Bytes to which the RIFF chunks of an AVI reach; 0 of other files and of unfinished recordings."""
    end = 0
    with open(path, "rb") as file:
        while (head := file.read(12))[:4] == b"RIFF" and head[8:] in (b"AVI ", b"AVIX"):
            length = int.from_bytes(head[4:8], "little")
            if not 0 < length < 0xFFFFFFFF:
                break
            end = file.tell() - 4 + length
            file.seek(end + length % 2)
    return end


def _boxes_end(path: Path) -> int:
    """Bytes to which the top-level boxes of an ISO base media file (mp4, mov) reach; 0 of other files."""
    with open(path, "rb") as file:
        if file.read(8)[4:] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return 0
        return max(_box_ends(file, path.stat().st_size), default=0)


def _box_ends(file: BinaryIO, size: int) -> Iterator[int]:
    begin = 0
    while begin + 8 <= size:
        file.seek(begin)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        # 0: to the end of the file; names are letters, what follows the last box is anything
        if length < 8 or not head[4:8].isalnum():
            return
        begin += length
        yield begin


def _ends_inside_a_packet(path: Path) -> bool:
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(204 * 3)
    for length, offset in _PACKETS:
        marks = start[offset::length][:3]
        if len(marks) == 3 and set(marks) == {_SYNC_BYTE}:
            return size % length != 0
    return False


def _ends_inside_a_tag(path: Path) -> bool:
    """FLV repeats each tag's length (11 bytes of header and its data) behind it."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        file.seek(max(0, size - 4))
        length = int.from_bytes(file.read(4), "big")
        if not 11 <= length <= size - 4 - 9:
            return True
        file.seek(size - 4 - length)
        tag = file.read(4)
    return tag[0] not in _FLV_TAGS or int.from_bytes(tag[1:], "big") != length - 11


def _element_id(file: BinaryIO) -> int:
    return int.from_bytes(file.read(4), "big")


def _element_size(file: BinaryIO) -> int | None:
    """A variable-length integer: as many bytes as its first has leading zeros, and one more; None if unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(first + file.read(more), "big") & ((1 << 7 * (more + 1)) - 1)
    return None if value == (1 << 7 * (more + 1)) - 1 else value
