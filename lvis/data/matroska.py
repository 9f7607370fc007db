"""What FFmpeg's Matroska writer leaves out and PyAV cannot reach: the aspect of pixels (RFC 9559, RFC 8794)."""

import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

_SEGMENT, _TRACKS = 0x18538067, 0x1654AE6B
_TRACK, _NAME, _VIDEO, _CRC, _VOID = 0xAE, 0x536E, 0xE0, 0xBF, 0xEC
_WIDTH, _HEIGHT = 0xB0, 0xBA
_DISPLAY_WIDTH, _DISPLAY_HEIGHT, _DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2
_AS_RATIO = 3  # DisplayUnit: the two numbers are a ratio
_FILLING = "\x1f"
_ROOM = 64  # more bytes than the display size needs
_LARGEST_HEADER = 1 << 20


def with_room(title: str) -> str:
    """A title of the video track that keeps room for `set_aspect`, which takes it away again."""
    return title + _FILLING * _ROOM


def set_aspect(path: Path, aspect: Fraction) -> None:
    """Write the display size of the video track whose title is `with_room`; nothing in the file moves.

    `aspect` is the width of a pixel over its height.
    """
    with open(path, "r+b") as file:
        head = file.read(_LARGEST_HEADER)
        begin, end = _tracks(head)
        children = [(kind, data) for kind, data in _elements(head[begin:end]) if kind != _CRC]
        changed = b"".join(
            _element(kind, _track_with(data, aspect) if kind == _TRACK else data)
            for kind, data in children
        )
        crc_length = len(_element(_CRC, bytes(4)))
        changed += _void(end - begin - crc_length - len(changed))
        file.seek(begin)
        file.write(_element(_CRC, zlib.crc32(changed).to_bytes(4, "little")) + changed)


def _tracks(head: bytes) -> tuple[int, int]:
    """Where the payload of Tracks begins and ends."""
    place = 0
    while place < len(head):
        kind, begin, end = _header(head, place)
        if kind == _TRACKS:
            return begin, end
        place = begin if kind == _SEGMENT else end
    raise ValueError("no tracks in the first part of the file")


def _track_with(track: bytes, aspect: Fraction) -> bytes:
    children = dict(_elements(track))
    title = children.get(_NAME, b"").decode()
    if not title.endswith(_FILLING) or _VIDEO not in children:
        return track
    changed = b""
    for kind, data in _elements(track):
        if kind == _NAME:
            changed += (
                _element(kind, stripped) if (stripped := title.rstrip(_FILLING).encode()) else b""
            )
        else:
            changed += _element(kind, data + _display(data, aspect) if kind == _VIDEO else data)
    return changed


def _display(video: bytes, aspect: Fraction) -> bytes:
    children = dict(_elements(video))
    width = int.from_bytes(children[_WIDTH], "big") * aspect
    height = Fraction(int.from_bytes(children[_HEIGHT], "big"))
    if width.denominator == 1:
        return _number(_DISPLAY_WIDTH, int(width)) + _number(_DISPLAY_HEIGHT, int(height))
    ratio = width / height
    return (
        _number(_DISPLAY_WIDTH, ratio.numerator)
        + _number(_DISPLAY_HEIGHT, ratio.denominator)
        + _number(_DISPLAY_UNIT, _AS_RATIO)
    )


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(data):
        kind, begin, end = _header(data, place)
        yield kind, data[begin:end]
        place = end


def _header(data: bytes, place: int) -> tuple[int, int, int]:
    """An element's kind, and where its payload begins and ends."""
    length = 9 - data[place].bit_length()
    kind = int.from_bytes(data[place : place + length], "big")
    place += length
    length = 9 - data[place].bit_length()
    size = int.from_bytes(data[place : place + length], "big") & ((1 << 7 * length) - 1)
    return kind, place + length, place + length + size


def _element(kind: int, payload: bytes) -> bytes:
    length = next(n for n in range(1, 9) if len(payload) < (1 << 7 * n) - 1)
    size = (1 << 7 * length) | len(payload)
    return (
        kind.to_bytes((kind.bit_length() + 7) // 8, "big") + size.to_bytes(length, "big") + payload
    )


def _number(kind: int, value: int) -> bytes:
    return _element(kind, value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _void(length: int) -> bytes:
    """An element of `length` bytes that says nothing; none has a single byte."""
    head = 2 if length < 128 else 3
    return _element(_VOID, bytes(length - head)) if length else b""
