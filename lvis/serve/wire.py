"""The binary messages of a session: a block of pictures to the page, a webcam's frame from it."""

import io
import json
import struct
from typing import Any

import cv2
import numpy as np

from lvis.errors import UserError
from lvis.untrusted import check_size

JPEG_QUALITY = 92
MOST_FRAME = 4 * 2**20  # bytes of a webcam's message
_LENGTH = struct.Struct("<I")
_FRAME = struct.Struct("<Id")


def pack(header: dict[str, Any], pictures: list[np.ndarray]) -> bytes:
    """`[u32 length][JSON header][JPEGs]`, little-endian; `header["bytes"]` has each JPEG's length.

    Pictures are uint8 (H, W, 3) RGB.
    """
    coded = [_jpeg(picture) for picture in pictures]
    text = json.dumps({**header, "bytes": [len(one) for one in coded]}).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *coded])


def unpack(message: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The header and the JPEGs of what `pack` made."""
    (length,) = _LENGTH.unpack_from(message)
    begin = _LENGTH.size + length
    header = json.loads(message[_LENGTH.size : begin])
    jpegs = []
    for size in header["bytes"]:
        jpegs.append(message[begin : begin + size])
        begin += size
    return header, jpegs


def pack_frame(number: int, milliseconds: float, jpeg: bytes) -> bytes:
    """A webcam's frame as the page sends it: `[u32 number][f64 time in ms][JPEG]`, little-endian."""
    return _FRAME.pack(number, milliseconds) + jpeg


def unpack_frame(message: bytes, most_pixels: int) -> tuple[int, float, np.ndarray]:
    """Number, time in ms and picture, uint8 (H, W, 3) RGB, of a webcam's frame.

    Raises:
        UserError: it is no JPEG, or larger than `most_pixels` (before it is decoded).
    """
    from PIL import Image

    if len(message) <= _FRAME.size:
        raise UserError("the webcam's frame is empty; check the camera and start again")
    number, milliseconds = _FRAME.unpack_from(message)
    try:
        with Image.open(io.BytesIO(message[_FRAME.size :]), formats=["JPEG"]) as image:
            check_size("the webcam's frame", image.height, image.width, most_pixels)
            picture = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError("the webcam's frame is not a readable JPEG; start again") from error
    return number, milliseconds, picture


def _jpeg(picture: np.ndarray) -> bytes:
    done, coded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return coded.tobytes()
