"""Damaged videos: restored as far as they go, or refused in a sentence; never a partial output or a changed input."""

import hashlib
import random
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from children import Ended, in_a_child, mutated

from lvis.data.video import VideoReader
from lvis.errors import UserError
from lvis.restore import command as restore

FRAMES, HEIGHT, WIDTH, RATE = 18, 48, 64, 24
# suffix, codec of the pictures, of the sound, pixel format
KINDS = (
    ("mp4", "libx264", "aac", "yuv420p"),
    ("mov", "mpeg4", "pcm_s16le", "yuv420p"),
    ("mkv", "libx264", "flac", "yuv420p"),
    ("webm", "libvpx", "libopus", "yuv420p"),
    ("avi", "mpeg4", "pcm_s16le", "yuv420p"),
    ("ts", "libx264", "aac", "yuv420p"),
    ("mpg", "mpeg2video", "mp2", "yuv420p"),
    ("flv", "flv", "aac", "yuv420p"),
    ("m4v", "mpeg4", None, "yuv420p"),
    ("mxf", "mpeg2video", None, "yuv422p"),
    ("ogv", "libvpx", "libopus", "yuv420p"),
    ("nut", "ffv1", "pcm_s16le", "yuv444p"),
)
_FORMATS = {"ts": "mpegts", "mkv": "matroska", "mpg": "mpeg", "m4v": "mp4", "ogv": "webm"}


def write(path: Path, codec: str, sound: str | None, pixels: str) -> None:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    suffix = path.suffix[1:]
    with av.open(str(path), "w", format=_FORMATS.get(suffix, suffix)) as container:
        video = container.add_stream(codec, Fraction(RATE))
        video.width, video.height, video.pix_fmt, video.gop_size = WIDTH, HEIGHT, pixels, 6
        audio = container.add_stream(sound, 48000) if sound else None
        for number in range(FRAMES):
            picture = np.stack([rows * 4 + number, columns * 3, 0 * rows + 9 * number], -1)
            frame = av.VideoFrame.from_ndarray(picture.astype(np.uint8), "rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            form = audio.codec_context.format.name
            samples = np.zeros((2, 2048), np.float32)
            resampler = av.AudioResampler(
                form, "stereo", 48000, audio.codec_context.frame_size or 2048
            )
            for number in range(18):
                wave = av.AudioFrame.from_ndarray(samples, "fltp", "stereo")
                wave.sample_rate, wave.pts = 48000, number * 2048
                for one in resampler.resample(wave):
                    container.mux(audio.encode(one))
            container.mux(audio.encode())


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, bytes]:
    folder, found = tmp_path_factory.mktemp("videos"), {}
    for suffix, codec, sound, pixels in KINDS:
        try:
            write(folder / f"clip.{suffix}", codec, sound, pixels)
        except (av.FFmpegError, ValueError):
            continue  # this build has no such encoder
        found[suffix] = (folder / f"clip.{suffix}").read_bytes()
    assert len(found) >= 8
    return found


def restored(source: Path, output: Path) -> Ended:
    def work() -> None:
        sys.argv = [
            "lvis.restore",
            f"input={source}",
            "task=deblur",
            "solver=pinv",
            f"output={output}",
        ]
        restore.main()

    return in_a_child(work)


def plainly_decoded(path: Path) -> int | None:
    """Frames of the first video stream; None where decoding stops or stumbles."""
    try:
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
            clean = not any(frame.is_corrupt for frame in frames)
            return (
                len(frames) if clean and len({(f.width, f.height) for f in frames}) == 1 else None
            )
    except (av.FFmpegError, IndexError, ValueError, MemoryError):
        return None


def wrong(
    ended: Ended, source: Path, before: str, output: Path, expected: int | None
) -> str | None:
    """What must not be; None where all is well."""
    if hashlib.sha256(source.read_bytes()).hexdigest() != before:
        return "changed input"
    left = [p.name for p in output.parent.iterdir() if p not in (source, output)]
    if left:
        return f"partial output {left}"
    if ended.outcome == "refused":
        return "output of a refused input" if output.exists() else None
    if ended.outcome != "right":
        return ended.outcome
    try:
        with VideoReader(str(output)) as reader:
            frames = len(list(reader))
    except UserError as error:
        return f"unreadable output ({error})"
    if not frames or (expected is not None and frames != expected and "lvis: " not in ended.said):
        return f"{frames} frames for {expected}"
    return None


@pytest.mark.slow
@pytest.mark.cases(1000)
def test_damaged_videos(table, cases, originals, tmp_path):
    names = list(originals)
    for number in range(cases):
        rng = random.Random(f"{table.seed} {number}")
        suffix = names[number % len(names)]
        kind, content = mutated(originals[suffix], rng, list(originals.values()))
        folder = tmp_path / str(number)
        folder.mkdir()
        source, output = folder / f"in.{suffix}", folder / "out.mp4"
        source.write_bytes(content)
        before = hashlib.sha256(content).hexdigest()
        ended = restored(source, output)
        problem = wrong(ended, source, before, output, plainly_decoded(source))
        case = f"case {number}, {kind}, {source}"
        table.add(suffix, problem or ended.outcome, case, ended.said, problem is None)


@pytest.mark.slow
def test_undamaged_videos_keep_their_frames(originals, tmp_path):
    for suffix, content in originals.items():
        source, output = tmp_path / f"in.{suffix}", tmp_path / f"out_{suffix}.mp4"
        source.write_bytes(content)
        ended = restored(source, output)
        assert ended.outcome == "right", (suffix, ended.said[-500:])
        with VideoReader(str(output)) as reader:
            assert len(list(reader)) == FRAMES, suffix
