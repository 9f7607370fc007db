"""Frames between a codec's colour format and RGB: matrix, range and the way up."""

from fractions import Fraction

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
    turns = quarter_turns(frame)
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def wide_colours(frame: av.VideoFrame) -> tuple[int, int] | None:
    """The (primaries, transfer) that have to be converted to BT.709's; None: there is no need."""
    numbers = (frame.color_primaries, frame.color_trc, frame.colorspace)
    return conversion(*(int(number) for number in numbers))


def quarter_turns(frame: av.VideoFrame) -> int:
    """0 to 3 counter-clockwise quarter turns (numpy's direction) that bring a frame upright."""
    return round(frame.rotation / 90) % 4


def to_picture(frame: np.ndarray, stream: av.VideoStream, position: int) -> av.VideoFrame:
    """uint8 (H, W, 3) RGB as the frame number `position` of a stream of `add_video_stream`."""
    is_yuv = str(stream.pix_fmt).startswith("yuv")
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
        format=stream.pix_fmt,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG if is_yuv else ColorRange.JPEG,
        interpolation=_PRECISE,
    )
    rate = stream.codec_context.rate
    assert rate is not None
    picture.pts, picture.time_base = position, 1 / Fraction(rate)
    return picture
