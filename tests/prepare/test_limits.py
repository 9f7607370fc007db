"""Files that claim too much are refused before anything is decoded."""

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lvis.errors import UserError
from lvis.prepare.decoding import Limits, Pictures
from tests.prepare.conftest import moving, write_frames, write_video

LIMITS = Limits(max_pixels=4096 * 4096, max_seconds=3600)


def png_header(width: int, height: int) -> bytes:
    """A PNG that says its size and holds nothing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + header
        + struct.pack(">I", zlib.crc32(header))
    )


@pytest.mark.parametrize("side", [12000, 30000])
def test_a_header_of_absurd_size_is_refused(tmp_path, side):
    path = write_video(tmp_path / "bomb.mkv", moving(2, 0, 300, 300))
    # Matroska's PixelWidth and PixelHeight, two bytes each
    content = path.read_bytes()
    for element in (b"\xb0\x82", b"\xba\x82"):
        said = element + struct.pack(">H", 300)
        assert content.count(said) == 1
        content = content.replace(said, element + struct.pack(">H", side))
    path.write_bytes(content)
    with pytest.raises(UserError, match="above max_pixels=16777216") as refused:
        Pictures(path, LIMITS)
    assert "\n" not in str(refused.value)


def test_an_absurd_length_is_refused(tmp_path):
    path = tmp_path / "long.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "bgr0"
        for position in (0, 25 * 7200):
            picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            picture = picture.reformat(format="bgr0")
            picture.pts, picture.time_base = position, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match="lasts 7200 s, above max_seconds=3600"):
        Pictures(path, LIMITS)


@pytest.mark.parametrize("side", [10000, 60000])
def test_an_image_of_absurd_size_in_a_folder_is_refused(tmp_path, side):
    folder = write_frames(tmp_path / "frames", moving(2, 0))
    (folder / "9.png").write_bytes(png_header(side, side))
    with pytest.raises(UserError, match="9.png"):
        list(Pictures(folder, LIMITS))


def test_a_header_that_says_less_than_the_stream_holds_does_not_help(tmp_path):
    path = write_video(tmp_path / "lying.mp4", moving(5, 0, 256, 256))
    content = bytearray(path.read_bytes())
    entry = content.index(b"avc1", content.index(b"stsd"))
    content[entry + 28 : entry + 32] = struct.pack(">HH", 16, 16)
    path.write_bytes(content)
    with pytest.raises(UserError), Pictures(path, Limits(64 * 64, 3600)) as pictures:
        list(pictures)


def test_a_playlist_that_calls_itself_a_video_opens_no_other_file(tmp_path):
    write_video(tmp_path / "secret.mp4", moving(5, 0))
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n"
    (tmp_path / "innocent.mp4").write_text(playlist)
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    for name in ("innocent.mp4", "list.mp4"):
        with pytest.raises(UserError, match="not a readable video"):
            Pictures(tmp_path / name, LIMITS)


def test_a_truncated_file_is_refused(tmp_path):
    path = write_video(tmp_path / "whole.mp4", moving(30, 0, 64, 64))
    moved = tmp_path / "cut.mp4"
    with (
        av.open(str(path)) as source,
        av.open(str(moved), "w", options={"movflags": "faststart"}) as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    moved.write_bytes(moved.read_bytes()[:-300])
    with pytest.raises(UserError, match="cut short"), Pictures(moved, LIMITS) as pictures:
        list(pictures)


def test_times_and_pixels_are_those_of_the_file(tmp_path):
    frames = moving(6, 0)
    path = write_video(tmp_path / "clip.mkv", frames, Fraction(24))
    for place in (path, write_frames(tmp_path / "frames", frames)):
        with Pictures(Path(place), LIMITS, Fraction(24)) as pictures:
            read = list(pictures)
        assert [picture.seconds for picture in read] == pytest.approx(np.arange(6) / 24, abs=1e-3)
        assert np.array_equal(np.stack([picture.rgb() for picture in read]), frames)
