"""A webdataset sample, as bytes by extension -> clip of the training size, caption, embedding. Nothing is unpickled."""

import io
import json
from collections.abc import Mapping
from typing import Any

import av
import cv2
import numpy as np

from lvis.data.colour import upright_rgb
from lvis.data.shard_decode import EMBEDDING_BYTES, METADATA_BYTES, DecodeError, decode_embedding
from lvis.untrusted import MOST_PIXELS

VIDEO, METADATA, TEXT, EMBEDDING = "mp4", "json", "txt", "safetensors"
EXTENSIONS = (VIDEO, METADATA, TEXT, EMBEDDING)
CAPTION_KEYS = ("caption", "text", "prompt")


def decode_sample(
    sample: Mapping[str, Any], size: tuple[int, int], frames: int, rate: float | None
) -> dict[str, Any]:
    """{"video": uint8 (3, T, H, W), "prompt": str} and "embedding" (L, D) where the sample has one.

    Args:
        sample: The bytes of its members, by extension in lower case.
        size: H and W: the centre of each frame, scaled down until one side fits.
        frames: T, from the start of the clip.
        rate: Frames per second to take; None takes every frame.

    Raises:
        DecodeError: no readable video, one that is too small or too short, or metadata of a wrong type.
    """
    if VIDEO not in sample:
        raise DecodeError(f"has no {VIDEO}")
    decoded = {
        "video": decode_clip(sample[VIDEO], size, frames, rate),
        "prompt": caption_of(sample),
    }
    if EMBEDDING in sample:
        if len(sample[EMBEDDING]) > EMBEDDING_BYTES:
            raise DecodeError(f"has an embedding of more than {EMBEDDING_BYTES} bytes")
        decoded["embedding"] = decode_embedding(sample[EMBEDDING])
    return decoded


def caption_of(sample: Mapping[str, Any]) -> str:
    """The `.txt`, else the first of `CAPTION_KEYS` in the `.json`, else "".

    Raises:
        DecodeError: unreadable, or a caption that is not text.
    """
    for extension in (TEXT, METADATA):
        if len(sample.get(extension, b"")) > METADATA_BYTES:
            raise DecodeError(f"has more than {METADATA_BYTES} bytes of {extension}")
    if TEXT in sample:
        return str(sample[TEXT], "utf-8", "replace").strip()
    if METADATA not in sample:
        return ""
    try:
        metadata = json.loads(sample[METADATA])
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"has unreadable metadata ({error!r})") from error
    if not isinstance(metadata, dict):
        raise DecodeError("has metadata that is not a JSON object")
    caption = next((metadata[key] for key in CAPTION_KEYS if key in metadata), "")
    if not isinstance(caption, str):
        raise DecodeError("has a caption that is not text")
    return caption.strip()


def decode_clip(
    content: bytes, size: tuple[int, int], frames: int, rate: float | None
) -> np.ndarray:
    """The clip, uint8 (3, frames, H, W) RGB. See `decode_sample`."""
    height, width = size
    limits = {"max_pixels": str(MOST_PIXELS)}
    probing: list[Any] = [limits]  # PyAV's stub says list[str]
    video = np.empty((frames, height, width, 3), np.uint8)
    taken = 0
    try:
        with av.open(io.BytesIO(content), "r", format="mp4", stream_options=probing) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            if context is None:
                raise DecodeError("is of an unknown codec")
            context.thread_type, context.thread_count = "NONE", 1  # the workers share the cores
            context.options = limits
            own = float(stream.average_rate or stream.guessed_rate or rate or 1)
            step = own / rate if rate else 1.0
            if step < 1:
                raise DecodeError(f"has {own:.3g} frames per second, fewer than {rate:.3g}")
            for number, frame in enumerate(container.decode(stream)):
                if number < round(taken * step):
                    continue
                if frame.is_corrupt:
                    raise DecodeError(f"is damaged at frame {number}")
                video[taken] = fit(upright_rgb(frame), height, width)
                taken += 1
                if taken == frames:
                    return np.ascontiguousarray(video.transpose(3, 0, 1, 2))
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise DecodeError(f"is not a readable video after {taken} frames ({error})") from error
    raise DecodeError(f"has {taken} of {frames} frames")


def fit(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (h, w, 3) -> (H, W, 3): scaled down until one side fits, then the centre.

    Raises:
        DecodeError: it is smaller.
    """
    shrink = max(height / pixels.shape[0], width / pixels.shape[1])
    if shrink > 1:
        raise DecodeError(f"is {pixels.shape[0]}x{pixels.shape[1]}, smaller than {height}x{width}")
    if shrink < 1:
        scaled = (
            max(round(pixels.shape[1] * shrink), width),
            max(round(pixels.shape[0] * shrink), height),
        )
        pixels = cv2.resize(pixels, scaled, interpolation=cv2.INTER_AREA)
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]
