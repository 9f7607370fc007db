"""Whether a video file holds all the bytes that its own header or index promises."""

from pathlib import Path
from typing import BinaryIO

import av

from lvis.errors import UserError

# RFC 8794 (EBML) and RFC 9559 (Matroska)
_EBML_HEADER, _SEGMENT = 0x1A45DFA3, 0x18538067


def check_complete(path: Path, stream: av.VideoStream) -> None:
    """Raises UserError when the file is shorter than its index (mp4, mov) or its header (mkv, webm) says."""
    indexed = max((entry.pos + entry.size for entry in stream.index_entries), default=0)
    end = max(indexed, matroska_end(path))
    size = path.stat().st_size
    if end > size:
        raise UserError(
            f"{path} is cut short ({size} of at least {end} bytes); copy or download it again"
        )


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
