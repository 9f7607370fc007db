"""What goes along with the pictures: subtitles, chapters, languages, titles, dates, timecode; what cannot is said."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from lvis.data.video import open_sink, open_source

SRT = """1
00:00:01,000 --> 00:00:02,000
Hello, é

2
00:00:02,500 --> 00:00:03,500
Two
rows

"""
TIMECODE = "01:02:03:04"


def make(path: Path, subtitles: str = "subrip", timecode: str = TIMECODE) -> Path:
    """Four seconds with two sounds, of which the second is the default, subtitles, chapters and tags."""
    (path.parent / "text.srt").write_text(SRT)
    muxer = {".mkv": "matroska"}.get(path.suffix, path.suffix[1:])
    with (
        av.open(str(path.parent / "text.srt")) as text,
        av.open(str(path), "w", format=muxer) as out,
    ):
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sounds = []
        for language, title in (("eng", "English"), ("deu", "Deutsch")):
            sound = out.add_stream("aac", rate=48000)
            sound.layout = "mono"
            sound.metadata.update(language=language, title=title)
            sound.disposition = Disposition.default if language == "deu" else 0
            sounds.append(sound)
        words = out.add_stream(subtitles)
        words.codec_context.time_base = Fraction(1, 1000)
        read = text.streams.subtitles[0]
        read.codec_context.open(strict=False)
        words.codec_context.subtitle_header = read.codec_context.subtitle_header
        words.metadata["language"] = "fra"
        video.metadata["language"] = "jpn"
        if timecode:
            video.metadata["timecode"] = timecode
        out.metadata.update(
            title="My film", artist="Someone", creation_time="2020-01-02T03:04:05.000000Z"
        )
        out.set_chapters([chapter(1, 0, 1500, "One"), chapter(2, 1500, 4000, "Two")])
        for number in range(100):
            pixels = np.full((48, 64, 3), number, np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(video.encode(None))
        for sound in sounds:
            for start in range(0, 4 * 48000, 1024):
                samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
                samples.rate, samples.pts, samples.time_base = 48000, start, Fraction(1, 48000)
                out.mux(sound.encode(samples))
            out.mux(sound.encode(None))
        for packet in text.demux(read):
            if packet.size:
                encoded = words.codec_context.encode_subtitle(read.codec_context.decode2(packet))
                encoded.pts = encoded.dts = packet.pts
                encoded.duration, encoded.time_base = packet.duration, packet.time_base
                encoded.stream = words
                out.mux(encoded)
    return path


def chapter(number: int, start: int, end: int, title: str) -> dict:
    tick = Fraction(1, 1000)
    return {
        "id": number,
        "start": start,
        "end": end,
        "time_base": tick,
        "metadata": {"title": title},
    }


def through(source: Path, target: Path) -> list[str]:
    with open_source(str(source)) as reader:
        with open_sink(str(target), reader.info, sound_from=str(source)) as sink:
            for frame in reader:
                sink.write(frame)
    return sink.notes


def words(path: Path) -> list[tuple[float, float, str]]:
    """Begin after the first picture, duration and text of every subtitle."""
    found = []
    with av.open(str(path)) as container:
        zero = next(container.decode(video=0)).time
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        for packet in container.demux(stream):
            text = stream.codec_context.decode2(packet) if packet.size else None
            for rect in text or ():
                line = rect.ass.decode().split(",", 8)[8]
                found.append(
                    (
                        float(packet.pts * packet.time_base) - zero,
                        float(packet.duration * packet.time_base),
                        line,
                    )
                )
    return found


def tags(metadata: dict[str, str]) -> dict[str, str]:
    return {key.lower(): value for key, value in metadata.items()}


@pytest.mark.parametrize(
    "name, codec",
    [("a.mkv", "subrip"), ("a.mkv", "ass"), ("a.mp4", "mov_text"), ("a.mov", "mov_text")],
)
@pytest.mark.parametrize("target", ["out.mkv", "out.mp4", "out.mov"])
def test_what_goes_along_is_kept(tmp_path, name, codec, target):
    through(make(tmp_path / name, codec), tmp_path / target)
    texts = words(tmp_path / target)
    assert [(begin, length) for begin, length, _ in texts] == [
        (pytest.approx(1, abs=0.002), pytest.approx(1, abs=0.002)),
        (pytest.approx(2.5, abs=0.002), pytest.approx(1, abs=0.002)),
    ]
    assert texts[0][2] == "Hello, é" and texts[1][2] == r"Two\Nrows"
    with av.open(str(tmp_path / target)) as out:
        said = tags(out.metadata)
        assert (said["title"], said["artist"]) == ("My film", "Someone")
        assert said["creation_time"] == "2020-01-02T03:04:05.000000Z"
        shown = [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]), c["metadata"])
            for c in out.chapters()
        ]
        assert shown == [(0, 1.5, {"title": "One"}), (1.5, 4, {"title": "Two"})]
        sounds = out.streams.audio
        assert [bool(s.disposition & Disposition.default) for s in sounds] == [False, True]
        titles = [s.metadata.get("title") or s.metadata.get("name") for s in sounds]
        assert titles == ["English", "Deutsch"]
        tracks: Sequence = (*out.streams.video, *sounds, *out.streams.subtitles)
        languages = [stream.metadata.get("language") for stream in tracks]
        # QuickTime's own table has no code for "deu"
        german = None if "mov" in target or "mov" in name else "deu"
        assert [None if code == "und" else code for code in languages] == [
            "jpn",
            "eng",
            german,
            "fra",
        ]
        codes = [tags(s.metadata).get("timecode") for s in out.streams] + [said.get("timecode")]
        assert TIMECODE in codes


def test_what_is_not_kept_is_said(tmp_path):
    source = make(tmp_path / "a.mkv", timecode="not one")
    notes = through(source, tmp_path / "out.mov")
    assert any("as srt; they are converted to mov_text" in note for note in notes)
    assert any("the timecode not one is not kept" in note for note in notes)
    assert any("does not keep the language deu" in note for note in notes)
    notes = through(source, tmp_path / "out")
    assert notes == ["pictures alone are written; its sound, subtitles, chapters are not kept"]


@pytest.mark.parametrize("opacity, said", [(100, True), (255, False)])
def test_alpha_is_said_where_it_hides_something(tmp_path, opacity, said):
    pixels = np.full((16, 16, 4), opacity, np.uint8)
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "bgra"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
        container.mux(stream.encode(None))
    with open_source(str(tmp_path / "a.mkv")) as reader:
        assert any("alpha channel is ignored" in note for note in reader.notes) == said
