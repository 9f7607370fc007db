"""Every frame is shown when it was: even rates exactly, varying ones by each frame's own time, sound beside them."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lvis.data.video import VideoReader, open_sink, open_source

SAMPLES = 48000
# places on a grid of 30 per second
PHONE = [*range(60), *range(60, 120, 3)]  # two seconds at 30, then at 10 in the dark
PAUSE = [*range(30), *range(90, 120)]
DROPPED = [place for place in range(90) if place not in (40, 41, 70)]
FLASH = 90


def make(
    path: Path,
    places: list[int],
    rate: Fraction = Fraction(30),
    codec: str = "libx264",
    sound: str = "aac",
) -> Path:
    """Pictures at these places of a grid of `rate`; the one at FLASH is white, and a click begins with it."""
    click = np.zeros((1, SAMPLES * (places[-1] + 1) * rate.denominator // rate.numerator), np.int16)
    begins = int(FLASH / rate * SAMPLES)
    click[:, begins : begins + 240] = 28000
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=rate)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.options = {"bf": "2", "g": "30"} if codec in ("libx264", "mpeg2video") else {}
        audio = container.add_stream(sound, rate=SAMPLES)
        audio.layout = "mono"
        random = np.random.default_rng(0)
        for place in places:
            # every frame is as large as the next, so that a cut falls among the pictures
            noise = random.integers(0, 90, (48, 64, 3), dtype=np.uint8)
            pixels = np.full_like(noise, 255) if place == FLASH else noise
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = place, 1 / rate
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        for start in range(0, click.shape[1], 1024):
            part = click[:, start : start + 1024].copy()
            samples = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            samples.rate, samples.pts, samples.time_base = SAMPLES, start, Fraction(1, SAMPLES)
            container.mux(audio.encode(samples))
        container.mux(audio.encode(None))
    return path


def through(source: Path, target: Path) -> list[str]:
    with open_source(str(source)) as reader:
        said = [*reader.notes]  # before the first frame is asked for
        with open_sink(str(target), reader.info, sound_from=str(source)) as sink:
            for frame in reader:
                sink.write(frame)
    return said + sink.notes


def times_and_flashes(path: Path) -> tuple[np.ndarray, list[float]]:
    """Seconds of every frame, and those of the white ones."""
    with av.open(str(path)) as container:
        shown = [(f.time, f.to_ndarray(format="gray").mean()) for f in container.decode(video=0)]
    times = np.array([time for time, _ in shown])
    bright = [time for time, level in shown if level > 160]
    return times, bright


def clicks(path: Path) -> list[float]:
    found: list[float] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            levels = np.abs(frame.to_ndarray().astype(float))[0]
            full = (
                1.0 if frame.format.name.startswith("flt") else 2.0 ** (8 * frame.format.bytes - 1)
            )
            for place in np.flatnonzero(levels / full > 0.3):
                time = frame.time + place / frame.sample_rate
                if not found or time - found[-1] > 0.5:
                    found.append(time)
    return found


@pytest.mark.parametrize("places", [PHONE, PAUSE], ids=["phone", "pause"])
@pytest.mark.parametrize("source", ["a.mp4", "a.mkv", "a.ts", "a.flv"])
@pytest.mark.parametrize("target", ["out.mp4", "out.mkv"])
def test_a_varying_rate_keeps_every_frame_s_own_time(tmp_path, places, source, target):
    notes = through(make(tmp_path / source, places), tmp_path / target)
    assert any("its frame rate varies" in note for note in notes)
    times, flashes = times_and_flashes(tmp_path / target)
    expected = np.array(places) / 30
    np.testing.assert_allclose(times - times[0], expected, atol=0.002)
    assert clicks(tmp_path / target)[0] == pytest.approx(flashes[0], abs=0.5 / 30)
    with VideoReader(tmp_path / target) as reader:
        assert float(reader.info.rate) == pytest.approx(
            len(places) / (places[-1] + 1) * 30, rel=0.01
        )


def test_the_rate_of_a_folder_is_the_true_mean_and_that_is_said(tmp_path):
    source = make(tmp_path / "a.mp4", PHONE)
    with open_source(str(source)) as reader:
        assert float(reader.info.rate) == pytest.approx(80 / (118 / 30), rel=0.001)
        sink = open_sink(str(tmp_path / "out"), reader.info)
    assert "keeps no times" in sink.notes[0]


def test_dropped_frames_leave_the_rate_and_the_times_of_the_others(tmp_path):
    notes = through(make(tmp_path / "a.mp4", DROPPED), tmp_path / "out.mkv")
    assert any("frames are missing in it (3 in all)" in note for note in notes)
    times, _ = times_and_flashes(tmp_path / "out.mkv")
    np.testing.assert_allclose(times - times[0], np.array(DROPPED) / 30, atol=0.002)
    with VideoReader(tmp_path / "out.mkv") as reader:
        assert reader.info.rate == 30


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "25", "12.5", "60", "240", "100/3"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_an_even_rate_is_exact(tmp_path, name, rate):
    codec, sound = ("mpeg4", "pcm_s16le") if name.endswith("avi") else ("libx264", "aac")
    source = make(tmp_path / name, list(range(100)), Fraction(rate), codec, sound)
    with VideoReader(source) as reader:
        assert reader.info.rate == Fraction(rate)
        assert reader.info.times is None and reader.notes == []


@pytest.mark.parametrize("target", ["out.mp4", "out.mkv"])
@pytest.mark.parametrize("codec, sound", [("libx264", "pcm_s16le"), ("mpeg4", "pcm_s16le")])
def test_an_avi_s_flash_and_click_agree_with_its_master(tmp_path, codec, sound, target):
    source = make(tmp_path / "a.avi", list(range(120)), codec=codec, sound=sound)
    through(source, tmp_path / target)
    times, flashes = times_and_flashes(tmp_path / target)
    assert len(times) == 120
    assert flashes[0] - times[0] == pytest.approx(FLASH / 30, abs=0.002)
    assert clicks(tmp_path / target)[0] == pytest.approx(flashes[0], abs=0.5 / 30)


@pytest.mark.parametrize("target", ["out.mp4", "out.mkv"])
@pytest.mark.parametrize(
    "name, codec, sound", [("a.ts", "libx264", "aac"), ("a.mpg", "mpeg2video", "mp2")]
)
def test_sound_and_pictures_of_joined_recordings_stay_together(
    tmp_path, name, codec, sound, target
):
    source = make(tmp_path / name, list(range(120)), codec=codec, sound=sound)
    source.write_bytes(source.read_bytes() * 2)
    through(source, tmp_path / target)
    times, flashes = times_and_flashes(tmp_path / target)
    assert len(times) == 240
    heard = clicks(tmp_path / target)
    assert len(flashes) == len(heard) == 2
    np.testing.assert_allclose(heard, flashes, atol=0.5 / 30)


@pytest.mark.parametrize("target", ["out.mp4", "out.mkv"])
@pytest.mark.parametrize(
    "name, codec, unit", [("a.mpg", "mpeg2video", 2048), ("a.ts", "libx264", 188)]
)
@pytest.mark.parametrize("share", [0.2, 0.3, 0.4])
def test_a_recording_cut_inside_a_group_keeps_its_rate_and_sound(
    tmp_path, name, codec, unit, share, target
):
    source = make(tmp_path / name, list(range(120)), codec=codec, sound="mp2")
    whole = source.read_bytes()
    source.write_bytes(whole[int(len(whole) * share) // unit * unit :])
    notes = through(source, tmp_path / target)
    assert not any("varies" in note for note in notes)
    times, flashes = times_and_flashes(tmp_path / target)
    np.testing.assert_allclose(np.diff(times), 1 / 30, atol=0.0015)
    assert clicks(tmp_path / target)[0] == pytest.approx(flashes[0], abs=0.5 / 30)
