"""What is written: sides, profiles and pixels of H.264 and FFV1."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lvis.data.video import VideoReader
from lvis.data.video_writer import VideoWriter

NOISE = np.random.default_rng(0).integers(0, 256, (4, 35, 51, 3), dtype=np.uint8)


def write(path: Path, frames: np.ndarray, **options) -> list[str]:
    with VideoWriter(path, Fraction(25), **options) as writer:
        for frame in frames:
            writer.write(frame)
    return writer.notes


def read(path: Path) -> np.ndarray:
    with VideoReader(path) as reader:
        return np.stack(list(reader))


def stream_of(path: Path) -> tuple[str, str]:
    """Profile and pixel format."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return str(stream.profile), str(stream.pix_fmt)


@pytest.mark.parametrize("size", [(35, 51), (35, 52), (36, 51), (1, 1)])
def test_odd_sides_become_even_ones_that_phones_play(tmp_path, size):
    height, width = size
    # smooth, so that the codec's own loss stays small
    ramp = np.add.outer(4 * np.arange(height), 2 * np.arange(width)).astype(np.uint8)
    frames = np.repeat(np.repeat(ramp[None, ..., None], 3, axis=-1), 4, axis=0)
    notes = write(tmp_path / "a.mp4", frames, quality=1)
    profile, pixel_format = stream_of(tmp_path / "a.mp4")
    assert pixel_format == "yuv420p" and "4:4:4" not in profile
    even = (height + height % 2, width + width % 2)
    assert notes == [
        f"H.264 that phones play has even sides: {width}x{height} becomes {even[1]}x{even[0]}, its "
        "last row or column repeated; .mkv keeps odd sides"
    ]
    back = read(tmp_path / "a.mp4").astype(int)
    assert back.shape == (4, *even, 3)
    assert np.abs(back[:, :height, :width] - frames).max() <= 3
    assert np.abs(back[:, height:, :width] - frames[:, -1:]).max(initial=0) <= 3
    assert np.abs(back[:, :height, width:] - frames[:, :, -1:]).max(initial=0) <= 3


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_quality_0_and_mkv_return_every_level_of_any_size(tmp_path, name):
    notes = write(tmp_path / name, NOISE, quality=0)
    assert np.array_equal(read(tmp_path / name), NOISE)
    assert ["lossless" in note for note in notes] == ([] if name == "a.mkv" else [True])
