"""Pixels keep their shape, pictures their way up, and fields become frames."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.filter import Graph

from lvis.data.video import VideoReader
from lvis.data.video_writer import VideoWriter

HEIGHT, WIDTH = 48, 64
ONE, LAST = 1 << 16, 1 << 30
# a, b, c, d of the matrix: a pixel at (x, y) is shown at (a x + c y, b x + d y)
WAYS = {
    "upright": ((1, 0, 0, 1), lambda image: image),
    "quarter turn clockwise": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "half turn": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "quarter turn counter-clockwise": ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "upside down": ((1, 0, 0, -1), np.flipud),
    "transposed": ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
    "transposed the other way": ((0, -1, -1, 0), lambda image: np.rot90(image.swapaxes(0, 1), 2)),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_display_matrix_is_followed(tmp_path, way):
    (a, b, c, d), turned = WAYS[way]
    image = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    image[: HEIGHT // 2, : WIDTH // 2] = 220
    image[: HEIGHT // 2, WIDTH // 2 :] = 120
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.set_display_matrix([a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, LAST])
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    expected = turned(image).astype(int)
    with VideoReader(tmp_path / "a.mp4") as reader:
        assert (reader.info.height, reader.info.width) == expected.shape[:2]
        (back,) = reader
    assert np.median(np.abs(back - expected)) <= 3


def test_an_odd_angle_is_said(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.set_display_rotation(40)
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    with VideoReader(tmp_path / "a.mp4") as reader:
        assert reader.notes == [
            "it is rotated by an odd angle; it is shown at the nearest quarter turn"
        ]


@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(16, 15), Fraction(8, 9), Fraction(1)])
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.mov"])
def test_pixels_keep_their_aspect(tmp_path, name, aspect):
    frames = np.random.default_rng(0).integers(0, 256, (3, HEIGHT, WIDTH, 3), dtype=np.uint8)
    with VideoWriter(tmp_path / name, Fraction(25), aspect=aspect) as writer:
        for frame in frames:
            writer.write(frame)
    with av.open(str(tmp_path / name)) as container:
        stream = container.streams.video[0]
        assert (stream.sample_aspect_ratio or 1) == aspect
        assert "title" not in stream.metadata
    with VideoReader(tmp_path / name) as reader:
        assert reader.info.aspect == aspect
        back = np.stack(list(reader))
    if name.endswith("mkv"):
        assert np.array_equal(back, frames)


def moving_bar(position: int) -> np.ndarray:
    """A bar that moves by four pixels from one field to the next."""
    image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    image[:, 4 * position % WIDTH : 4 * position % WIDTH + 8] = 200
    return image


def marked(woven: np.ndarray, number: int, order: str) -> av.VideoFrame:
    """A frame that says of itself which of its fields comes first."""
    picture = av.VideoFrame.from_ndarray(woven, format="rgb24").reformat(format="yuv420p")
    picture.pts, picture.time_base = number, Fraction(1, 25)
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(template=picture, time_base=picture.time_base),
        graph.add("setfield", order),
        graph.add("buffersink"),
    ).configure()
    graph.vpush(picture)
    return graph.vpull()


def interlaced(path: Path, order: str, frames: int = 6) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": "1", "flags": "+ilme+ildct"}
        for number in range(frames):
            woven = moving_bar(2 * number)
            second = 1 if order == "tff" else 0
            woven[second::2] = moving_bar(2 * number + 1)[second::2]
            container.mux(stream.encode(marked(woven, number, order)))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.mkv"])
def test_fields_become_frames_of_the_first_field_s_time(tmp_path, name, order):
    with VideoReader(interlaced(tmp_path / name, order)) as reader:
        assert len(reader.notes) == 1 and "every frame is deinterlaced" in reader.notes[0]
        assert reader.info.rate == 25
        back = np.stack(list(reader)).astype(int)
    assert len(back) == 6
    for number in range(1, 5):  # the outer frames have but one neighbour
        errors = [np.abs(back[number] - moving_bar(2 * number + field)).mean() for field in (0, 1)]
        assert errors[0] < 6 < 15 < errors[1]


def test_fields_are_left_woven_where_that_is_asked_for(tmp_path):
    with VideoReader(interlaced(tmp_path / "a.mp4", "tff"), deinterlace=False) as reader:
        assert "deinterlace=false" in reader.notes[0] and "taken as progressive" in reader.notes[0]
        back = np.stack(list(reader)).astype(int)
    assert np.abs(back[2, 0::2] - back[2, 1::2]).mean() > 15


def test_progressive_video_passes_untouched(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, HEIGHT, WIDTH, 3), dtype=np.uint8)
    with VideoWriter(tmp_path / "a.mkv", Fraction(25)) as writer:
        for frame in frames:
            writer.write(frame)
    with VideoReader(tmp_path / "a.mkv") as reader:
        assert np.array_equal(np.stack(list(reader)), frames) and reader.notes == []
