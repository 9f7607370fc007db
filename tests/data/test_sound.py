"""Sound beside restored pictures: it stays in time, and whatever its codec, it never costs the pictures."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lvis.data.timing import packets_of
from lvis.data.video import VideoReader, open_sink, open_source

RATE, FRAMES, SAMPLES = 25, 75, 48000
HALF_A_FRAME = 0.5 / RATE


def flash_and_click(
    path: Path,
    frame: int,
    sound: str,
    video: str = "libx264",
    layout: str = "mono",
    container_format: str | None = None,
) -> Path:
    """Three seconds in which the frame `frame` is white and a click begins with it."""
    click = np.zeros((1, 3 * SAMPLES), np.int16)
    begins = frame * SAMPLES // RATE
    click[:, begins : begins + 240] = 28000
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    with av.open(str(path), "w", format=container_format) as container:
        pictures = container.add_stream(video, rate=RATE)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        if video == "libx264":
            pictures.options = {"g": "50", "sc_threshold": "0", "bf": "2"}
        audio = container.add_stream(sound, rate=SAMPLES)
        audio.layout = layout
        noise = np.random.default_rng(0).integers(0, 90, (FRAMES, 48, 64, 3), dtype=np.uint8)
        noise[frame] = 255
        for pixels in noise:
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(pictures.encode(None))
        step = 1024
        for start in range(0, click.shape[1], step):
            part = np.repeat(click[:, start : start + step], channels, axis=0)
            samples = av.AudioFrame.from_ndarray(
                part.T.reshape(1, -1).copy(), format="s16", layout=layout
            )
            samples.rate, samples.pts, samples.time_base = SAMPLES, start, Fraction(1, SAMPLES)
            container.mux(audio.encode(samples))
        container.mux(audio.encode(None))
    return path


def through(source: Path, target: Path) -> list[str]:
    """Read the pictures and write them with the source's sound; what was said of it."""
    with open_source(str(source)) as reader:
        with open_sink(str(target), reader.info, sound_from=str(source)) as sink:
            for frame in reader:
                sink.write(frame)
    return sink.notes


def distance(path: Path) -> float:
    """Seconds from the flash to the click."""
    with av.open(str(path)) as container:
        flash = max(
            (float(frame.to_ndarray(format="gray").mean()), frame.time)
            for frame in container.decode(video=0)
        )[1]
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            levels = np.abs(frame.to_ndarray().astype(float)).reshape(frame.to_ndarray().shape)
            if not frame.format.is_planar:
                levels = levels.reshape(-1, frame.layout.nb_channels).T
            full = 1.0 if frame.format.name.startswith("flt") else 32768.0
            loud = np.flatnonzero(levels.max(axis=0) / full > 0.3)
            if len(loud):
                return frame.time + loud[0] / frame.sample_rate - flash
    raise AssertionError("no click")


def sound_of(path: Path) -> tuple[str, float]:
    """Its codec and its seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        samples = sum(frame.samples for frame in container.decode(audio=0))
        return stream.codec_context.name, samples / stream.codec_context.sample_rate


def test_sound_in_a_layout_that_mp4_has_no_name_for_is_encoded_and_keeps_its_time(tmp_path):
    source = flash_and_click(tmp_path / "a.mkv", 30, "pcm_s16le", layout="5.1")
    notes = through(source, tmp_path / "out.mp4")
    codec, seconds = sound_of(tmp_path / "out.mp4")
    assert codec == "aac" and seconds == pytest.approx(3, abs=0.05)
    assert notes == [
        "this container does not take the sound's codec pcm_s16le; it is encoded as AAC"
    ]
    assert abs(distance(tmp_path / "out.mp4")) < HALF_A_FRAME


@pytest.mark.parametrize("target", ["out.mp4", "out.mkv"])
def test_a_recording_cut_inside_a_group_of_pictures_keeps_its_sound_in_time(tmp_path, target):
    source = flash_and_click(tmp_path / "a.ts", 60, "mp2")
    whole = source.read_bytes()
    source.write_bytes(whole[int(len(whole) * 0.2) // 188 * 188 :])
    through(source, tmp_path / target)
    with VideoReader(tmp_path / target) as reader:
        assert 20 <= len(list(reader)) < 50  # from the second group on
    assert abs(distance(tmp_path / target)) < HALF_A_FRAME


@pytest.mark.parametrize("target", ["out.mp4", "out.mkv"])
@pytest.mark.parametrize("name, sound", [("a.ts", "aac"), ("a.mpg", "mp2")])
def test_sound_whose_clock_jumps_back_goes_on(tmp_path, name, sound, target):
    codec = "libx264" if name.endswith("ts") else "mpeg2video"
    source = flash_and_click(tmp_path / name, 60, sound, codec)
    source.write_bytes(source.read_bytes() * 2)
    through(source, tmp_path / target)
    with VideoReader(tmp_path / target) as reader:
        assert len(list(reader)) == 2 * FRAMES
    assert sound_of(tmp_path / target)[1] == pytest.approx(6, abs=0.15)


def test_a_failure_in_the_midst_of_the_sound_ends_the_sound_alone(tmp_path, monkeypatch):
    source = flash_and_click(tmp_path / "a.mkv", 30, "aac")
    from lvis.data import tracks

    def failing(container, wanted):  # noqa: ANN001
        for packet in packets_of(container, wanted):
            if packet.dts is not None and packet.dts > 500:
                raise av.InvalidDataError(1, "broken")
            yield packet

    monkeypatch.setattr(tracks, "packets_of", failing)
    notes = through(source, tmp_path / "out.mp4")
    assert len(notes) == 1 and "ends early (broken)" in notes[0]
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert len(list(reader)) == FRAMES


@pytest.mark.parametrize("target", ["out.mp4", "out.mkv"])
def test_broken_packets_of_sound_cost_themselves_alone(tmp_path, target):
    source = flash_and_click(tmp_path / "a.ts", 60, "aac")
    payload = bytearray(source.read_bytes())
    sound = [
        place
        for place in range(0, len(payload), 188)
        if int.from_bytes(payload[place + 1 : place + 3], "big") & 0x1FFF == 0x101
    ]
    for place in sound[len(sound) // 4 : len(sound) // 2]:
        header = payload.find(b"\xff\xf1", place + 4, place + 188)
        if header >= 0:
            payload[header] = 0x55
    source.write_bytes(payload)
    notes = through(source, tmp_path / target)
    assert any("are broken, and left out" in note for note in notes)
    with VideoReader(tmp_path / target) as reader:
        assert len(list(reader)) == FRAMES
    with av.open(str(tmp_path / target)) as container:
        ends = [float(p.pts * p.time_base) for p in container.demux(audio=0) if p.size]
    assert ends[-1] == pytest.approx(3, abs=0.1) and len(ends) > 80


def test_the_default_stream_is_restored_and_a_colon_is_part_of_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from av.stream import Disposition

    with av.open("file:12:30.mkv", "w") as container:
        streams = []
        for number in range(2):
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 16, 16, "bgr0"
            stream.disposition = Disposition.default if number else 0
            streams.append(stream)
        for number, stream in enumerate(streams):
            pixels = np.full((16, 16, 3), 200 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))
    with open_source("12:30.mkv") as reader:
        (frame,) = reader
    assert frame.mean() == 200


def test_elementary_streams_and_dv_have_the_rate_of_their_pictures(tmp_path):
    for name, codec, rate, size in (
        ("a.h264", "libx264", 30, (64, 48)),
        ("a.dv", "dvvideo", 25, (720, 576)),
    ):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream(codec, rate=rate)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            if codec == "dvvideo":
                audio = container.add_stream("pcm_s16le", rate=48000)
                audio.layout = "stereo"
            for _ in range(6):
                pixels = np.zeros((size[1], size[0], 3), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
                if codec == "dvvideo":
                    silence = av.AudioFrame.from_ndarray(
                        np.zeros((1, 2 * 1920), np.int16), format="s16", layout="stereo"
                    )
                    silence.rate = 48000
                    container.mux(audio.encode(silence))
            container.mux(stream.encode(None))
        with open_source(str(tmp_path / name)) as reader:
            assert reader.info.rate == rate
