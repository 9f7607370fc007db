"""Frames between a codec's colour format and RGB: matrix, range and the way up."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from lvis.data.gamut import conversion, to_bt709

_PRECISE = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
# ITU-T H.273 matrix coefficients -> swscale's constants; 6 (SMPTE 170M) is the matrix of BT.601
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
Matrix = tuple[tuple[int, int], tuple[int, int]]
BT709 = 1  # its number in each of the three tables of H.273
_HD_HEIGHT = 720  # untagged video is BT.709 from here on and BT.601 below, as players assume


def upright_rgb(frame: av.VideoFrame) -> np.ndarray:
    """A decoded frame as uint8 (H, W, 3) RGB: its own matrix and range, turned as displayed.

    Wide gamut and high dynamic range are converted to BT.709 (`lvis.data.gamut`).
    """
    untagged = Colorspace.ITU709 if frame.height >= _HD_HEIGHT else Colorspace.ITU601
    full_range = frame.color_range == ColorRange.JPEG or frame.format.is_rgb
    full_range = full_range or frame.format.name.startswith("yuvj")
    wide = wide_colours(frame)
    pixels = frame.to_ndarray(
        format="rgb48le" if wide else "rgb24",
        src_colorspace=_MATRICES.get(int(frame.colorspace), untagged),
        src_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=_PRECISE,
    )
    if wide:
        pixels = to_bt709(pixels, wide)
    return np.ascontiguousarray(_upright(pixels, _display_matrix(frame)))


def wide_colours(frame: av.VideoFrame) -> tuple[int, int] | None:
    """The (primaries, transfer) that have to be converted to BT.709's; None: there is no need."""
    numbers = (frame.color_primaries, frame.color_trc, frame.colorspace)
    return conversion(*(int(number) for number in numbers))


def hides_something(frame: av.VideoFrame, stream: av.VideoStream) -> bool:
    """Whether a frame has pixels that are not opaque, as far as its decoder shows."""
    if stream.metadata.get("alpha_mode") == "1":
        return (
            True  # VP8 and VP9, whose alpha is a second stream that FFmpeg's own decoders pass over
        )
    if not any(component.is_alpha for component in frame.format.components):
        return False
    return bool(frame.to_ndarray(format="rgba")[..., 3].min() < 255)


def is_sideways(frame: av.VideoFrame) -> bool:
    """Whether a frame's rows are shown as columns."""
    across, down = _display_matrix(frame)[0]
    return abs(down) > abs(across)


def is_oblique(frame: av.VideoFrame) -> bool:
    """Whether a frame is to be shown turned by an angle that is no multiple of 90 degrees."""
    across, down = _display_matrix(frame)[0]
    return min(abs(across), abs(down)) > 0.01 * max(abs(across), abs(down))


def _display_matrix(frame: av.VideoFrame) -> Matrix:
    """((a, b), (c, d)): a pixel at (x, y) is shown at (a x + c y, b x + d y), and moved back into the picture.

    ISO/IEC 14496-12, 6.2.2; FFmpeg hands it on as nine native integers of four bytes.
    """
    side_data: Any = frame.side_data  # PyAV's stubs know but one kind
    if "DISPLAYMATRIX" not in {data.type.name for data in side_data}:
        return (1, 0), (0, 1)
    a, b, _, c, d, *_ = np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32).tolist()
    return (a, b), (c, d)


def _upright(pixels: np.ndarray, matrix: Matrix) -> np.ndarray:
    """(H, W, 3) turned and mirrored by the nearest of the eight ways that a matrix can ask for."""
    (a, b), (c, d) = matrix
    if abs(b) > abs(a):
        pixels, right, down = pixels.swapaxes(0, 1), c, b
    else:
        right, down = a, d
    if right < 0:
        pixels = pixels[:, ::-1]
    return pixels[::-1] if down < 0 else pixels


def to_picture(
    frame: np.ndarray, stream: av.VideoStream, position: int, tick: Fraction | None = None
) -> av.VideoFrame:
    """uint8 (H, W, 3) RGB as a frame of a stream of `add_video_stream`, shown at `position` ticks.

    `tick` is in seconds; None: the frame number `position` at the stream's rate.
    """
    is_yuv = str(stream.pix_fmt).startswith("yuv")
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
        format=stream.pix_fmt,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG if is_yuv else ColorRange.JPEG,
        interpolation=_PRECISE,
    )
    rate = stream.codec_context.rate
    assert rate is not None
    picture.pts, picture.time_base = position, tick or 1 / Fraction(rate)
    return picture
