"""BT.709 colours, carried in wider gamuts and ranges as standards say, come back as BT.709 colours."""

from fractions import Fraction

import av
import numpy as np
import pytest

from lvis.data.gamut import HLG, KNEE, PQ, to_bt709
from lvis.data.video import VideoReader, VideoWriter

# ITU-R BT.2087, linear BT.709 -> BT.2020
TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
COLOURS = np.array(
    [[200, 150, 120], [60, 90, 30], [128, 128, 128], [230, 20, 20], [20, 20, 220], [0, 0, 0]]
)


def pq(light: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084's inverse EOTF of cd/m^2."""
    y = (light / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def hlg(scene: np.ndarray) -> np.ndarray:
    """BT.2100's OETF."""
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)


def carried(transfer: int, scale: float = 1.0) -> np.ndarray:
    """COLOURS as signals in BT.2020, (N, 3) in [0, 1]; 255 is 203 cd/m^2 times `scale`."""
    linear = np.clip((COLOURS / 255) ** 2.4 @ TO_2020.T, 0, None) * scale
    if transfer == PQ:
        return pq(linear * 203)
    if transfer == HLG:
        display = linear * 203 / 1000
        luminance = display @ np.array([0.2627, 0.6780, 0.0593])
        return hlg(display * np.maximum(luminance, 1e-9)[:, None] ** (1 / 1.2 - 1))
    return linear ** (1 / 2.4)


@pytest.mark.parametrize("transfer", [14, PQ, HLG])
def test_colours_below_the_knee_come_back_as_they_were(transfer):
    signal = np.rint(carried(transfer) * 65535).astype(np.uint16)[None]
    back = to_bt709(signal, (9, transfer))[0]
    assert np.abs(back.astype(int) - COLOURS).max() <= 2


def test_the_tone_map_keeps_order_and_reaches_white_at_its_peak():
    light = np.array([100.0, KNEE * 203, 203, 400, 1000])
    signal = np.rint(pq(light) * 65535).astype(np.uint16)
    back = to_bt709(np.repeat(signal[None, :, None], 3, axis=-1), (9, PQ))[0, :, 0].astype(int)
    assert (np.diff(back) > 0).all()
    assert back[-1] == 255 and back[2] >= 245
    assert back[0] == round(255 * (100 / 203) ** (1 / 2.4))


@pytest.mark.parametrize("transfer, name", [(14, "BT.2020"), (PQ, "HDR (PQ"), (HLG, "HDR (HLG")])
def test_a_ten_bit_file_is_converted_and_it_is_said(tmp_path, transfer, name):
    # limited-range Y'CbCr with BT.2020's matrix, of 16 x 16 patches
    red, green, blue = np.repeat(np.repeat(carried(transfer).T[:, None], 16, 1), 16, 2)
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    planes = [
        (16 + 219 * luma) * 4,
        (128 + 224 * (blue - luma) / 1.8814) * 4,
        (128 + 224 * (red - luma) / 1.4746) * 4,
    ]
    levels = np.rint(np.stack(planes)).astype(np.uint16)
    path = tmp_path / "wide.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = levels.shape[2], 16, "yuv444p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = 9, transfer, 9
        context.color_range = 1
        frame = av.VideoFrame(levels.shape[2], 16, "yuv444p10le")
        for plane, values in zip(frame.planes, levels, strict=True):
            padded = np.zeros((16, plane.line_size // 2), np.uint16)
            padded[:, : values.shape[1]] = values
            plane.update(padded)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with VideoReader(path) as reader:
        assert name in reader.notes[0]
        (back,) = reader
    assert np.abs(back[8, 8::16].astype(int) - COLOURS).max() <= 4


def test_outputs_of_every_container_say_that_they_are_bt709(tmp_path):
    for suffix in ("mkv", "mp4"):
        with VideoWriter(tmp_path / f"a.{suffix}", Fraction(25)) as writer:
            writer.write(np.zeros((16, 16, 3), np.uint8))
        with av.open(str(tmp_path / f"a.{suffix}")) as container:
            context = container.streams.video[0].codec_context
            assert (context.color_primaries, context.color_trc) == (1, 1)
