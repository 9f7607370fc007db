"""Files that end before their time are noticed: refused where they say their length, else said."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lvis.data.video import VideoReader
from lvis.errors import UserError

FRAMES = 50


def make(path: Path, codec: str, **options: str) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (FRAMES, 48, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = {} if codec == "mjpeg" else {"g": "10", "bf": "0"}
        for pixels in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def read(path: Path) -> tuple[int, list[str]]:
    with VideoReader(path) as reader:
        return len(list(reader)), reader.notes


def cut(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.6) // 188 * 188 + 77])


FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}


@pytest.mark.parametrize(
    "name, codec, options",
    [("a.avi", "mjpeg", {}), ("a.mp4", "libx264", FRAGMENTS), ("a.mkv", "libx264", {})],
)
def test_a_container_that_says_its_length_is_refused_when_cut(tmp_path, name, codec, options):
    path = make(tmp_path / name, codec, **options)
    assert read(path) == (FRAMES, [])
    cut(path)
    with pytest.raises(UserError, match=f"{name} is cut short"):
        read(path)


@pytest.mark.parametrize("name", ["a.ts", "a.m2ts", "a.flv"])
def test_a_stream_that_ends_inside_a_packet_is_restored_and_said(tmp_path, name):
    path = make(tmp_path / name, "libx264")
    assert read(path) == (FRAMES, [])
    cut(path)
    with VideoReader(path) as reader:
        assert "it ends inside a packet" in reader.notes[0]  # before a frame is restored
        assert 20 < len(list(reader)) < 40


def test_a_header_that_promises_more_frames_than_can_be_read_is_said(tmp_path):
    path = make(tmp_path / "a.avi", "mjpeg")
    payload = bytearray(path.read_bytes())
    for name, offset in ((b"avih", 24), (b"strh", 40)):  # dwTotalFrames, dwLength
        place = payload.index(name) + offset
        payload[place : place + 4] = (2 * FRAMES).to_bytes(4, "little")
    path.write_bytes(payload)
    count, notes = read(path)
    assert count == FRAMES
    assert notes == [f"its header promises {2 * FRAMES} frames, but only {FRAMES} could be read"]


def test_the_rate_of_a_cut_stream_stays(tmp_path):
    path = make(tmp_path / "a.ts", "libx264")
    cut(path)
    with VideoReader(path) as reader:
        assert reader.info.rate == Fraction(25)
