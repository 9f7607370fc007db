"""Opening pictures and videos that nobody vouches for: no other file is opened, nothing absurd is unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lvis.errors import UserError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream
    from PIL.Image import Image

MOST_PIXELS = 8192 * 4320  # height x width of a frame
MOST_HELD = 4 * 10**9  # bytes of frames that are held at once, where a whole video is

# containers only: a playlist that calls itself .mp4 could have FFmpeg open other files
_FORMATS = (
    "mov,mp4,m4v,matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,ivf,mxf,dv,nut,flv,asf,ogg,"
    "gif,yuv4mpegpipe,wav"
)


def check_size(path: str | Path, height: int, width: int, most_pixels: int = MOST_PIXELS) -> None:
    """Raises UserError when a header says no size, or a larger frame than `most_pixels`."""
    if height < 1 or width < 1:
        # FFmpeg, held to a limit, reports sizes beyond it as none
        raise UserError(
            f"{path} says no size, or one above max_pixels={most_pixels}; check the file, or raise "
            "max_pixels if its frames are that large"
        )
    if height * width > most_pixels:
        raise UserError(
            f"{path} says it is {width}x{height}, above max_pixels={most_pixels}; "
            "raise max_pixels if that is true"
        )


def open_video(path: str | Path, most_pixels: int = MOST_PIXELS) -> InputContainer:
    """A video file, open: one container of known kind in one local file.

    The decoders that look into its streams for their sizes may not allocate larger frames either.

    Raises:
        av.FFmpegError, OSError, ValueError: it is none.
    """
    import av

    options = {
        "protocol_whitelist": "file",
        "format_whitelist": _FORMATS,
        "max_pixels": str(most_pixels),
    }
    # "file:", or a name such as 12:30.mp4 would ask for a protocol called 12
    return av.open(f"file:{path}", options=options)


def limit_decoder(path: str | Path, stream: VideoStream, most_pixels: int = MOST_PIXELS) -> None:
    """Hold a stream to `most_pixels` before its first frame is decoded.

    Raises:
        UserError: its header says more, or it is of a codec that is not known here.
    """
    context: VideoCodecContext | None = stream.codec_context  # PyAV's stub leaves None out
    if context is None:
        raise UserError(f"{path} has a video of an unknown codec; convert it, to H.264 for example")
    check_size(path, context.height, context.width, most_pixels)
    # a header may say less than the stream holds: the decoder has the limit too
    context.options = {**context.options, "max_pixels": str(most_pixels)}


@contextmanager
def open_image(path: str | Path, most_pixels: int = MOST_PIXELS) -> Iterator[Image]:
    """An image, its header read and not one of its pixels.

    Raises:
        UserError: there is none, it is unreadable (also where the block decodes it), or says a larger
            size.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            check_size(path, image.height, image.width, most_pixels)
            yield image
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; give the path of an image") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{path} is larger than any image should be ({error})") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f"{path} is not a readable image ({error}); replace or remove it"
        ) from error
