"""The bytes of a sample's members -> clip, prompt, embedding. Distrusts all of them; nothing is ever unpickled."""

import io
import json
import zlib
from typing import Any

import av
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from lvis.data.colour import upright_rgb
from lvis.data.shard_format import EMBEDDING, VIDEO_CHECKSUM

CONTAINERS = {"mp4": "mp4", "mkv": "matroska"}
CODECS = ("h264", "ffv1")
METADATA_BYTES = 2**20
EMBEDDING_BYTES = 2**26
MOST_TOKENS = 512

_SLACK = 2**20  # of a video's bytes, over its raw size


class DecodeError(Exception):
    """The sentence that says what is wrong with a member."""


def most_video_bytes(size: tuple[int, int], frames: int) -> int:
    """No video member of this size is larger than its frames unpacked."""
    return 4 * size[0] * size[1] * frames + _SLACK


def decode_video(content: bytes, extension: str, size: tuple[int, int], frames: int) -> np.ndarray:
    """The first `frames` frames of a clip, uint8 (3, frames, H, W) RGB.

    The container is the one that the extension names and the codec H.264 or FFV1, so that no other
    demuxer or decoder meets the bytes. A header of another size is refused before a frame is
    decoded, and the decoder may not allocate a larger frame than that; errors in the bit stream
    are not concealed.

    Raises:
        DecodeError: not such a video, of another size, shorter, or damaged.
    """
    height, width = size
    # coded sizes are rounded up to whole macroblocks
    limits = {"max_pixels": str((height + 64) * (width + 64))}
    probing: list[Any] = [limits]  # PyAV's stub says list[str]
    video = np.empty((3, frames, height, width), np.uint8)
    count = 0
    try:
        with av.open(
            io.BytesIO(content),
            "r",
            format=CONTAINERS[extension],
            stream_options=probing,
        ) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            if context is None:
                raise DecodeError("is of an unknown codec")
            if context.name not in CODECS:
                raise DecodeError(f"is encoded as {context.name}, not {' or '.join(CODECS)}")
            if (context.height, context.width) != (height, width):
                raise DecodeError(f"is {context.height}x{context.width}, not {height}x{width}")
            context.thread_type, context.thread_count = "NONE", 1  # the workers share the cores
            context.options = {**limits, "err_detect": "explode"}
            for frame in container.decode(stream):
                if (frame.height, frame.width) != (height, width) or frame.rotation:
                    raise DecodeError(f"has a frame that is not upright {height}x{width}")
                if frame.is_corrupt:
                    raise DecodeError(f"is damaged at frame {count}")
                video[:, count] = upright_rgb(frame).transpose(2, 0, 1)
                count += 1
                if count == frames:
                    return video
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise DecodeError(f"is not a readable video after {count} frames ({error})") from error
    raise DecodeError(f"has {count} frames of {frames}")


def decode_metadata(content: bytes, most_frames: int, frames: int) -> dict[str, Any]:
    """A sample's metadata, with "caption", "source_sha256" and "frames" as they should be.

    Raises:
        DecodeError: no such JSON.
    """
    try:
        metadata = json.loads(content)
        caption, source = metadata["caption"], metadata["source_sha256"]
        stored = metadata["frames"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise DecodeError(f"has unreadable metadata ({error!r})") from error
    if not isinstance(caption, str) or not isinstance(stored, int):
        raise DecodeError("has metadata of a wrong type")
    if not isinstance(source, str) or len(source) != 64 or set(source) - set("0123456789abcdef"):
        raise DecodeError("has an invalid source_sha256")
    if not frames <= stored <= most_frames:
        raise DecodeError(f"has {stored} frames, not {frames} to {most_frames}")
    return metadata


def check_video(content: bytes, metadata: dict[str, Any]) -> None:
    """Hold a video member against its checksum, if it has one: H.264 may decode damage to a picture.

    Raises:
        DecodeError: they differ.
    """
    expected = metadata.get(VIDEO_CHECKSUM)
    if expected is not None and expected != zlib.crc32(content):
        raise DecodeError("has a video that does not match its checksum")


def decode_embedding(content: bytes) -> Tensor:
    """The prompt's embedding (L, D), as stored.

    Raises:
        DecodeError: no safetensors with a finite matrix of at most 512 tokens in it.
    """
    try:
        embedding = load_safetensors(content)[EMBEDDING]
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise DecodeError(f"has an unreadable embedding ({error!r})") from error
    if embedding.ndim != 2 or not embedding.is_floating_point():
        raise DecodeError(f"has an embedding of shape {tuple(embedding.shape)}, not (L, D)")
    if not 1 <= embedding.shape[0] <= MOST_TOKENS or not bool(torch.isfinite(embedding).all()):
        raise DecodeError("has an embedding that is too long or not finite")
    return embedding
