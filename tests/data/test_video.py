"""Video files, folders and pipes: what is written is what is read, and what is broken is said in one sentence."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from lvis.data.frames import (
    FolderReader,
    FolderWriter,
    VideoInfo,
    read_image,
    to_frames,
    to_video,
)
from lvis.data.numbering import natural_key
from lvis.data.pipe import RawReader, RawWriter
from lvis.data.video import VideoReader, VideoWriter, open_sink, open_source
from lvis.errors import UserError

RATE = Fraction(30000, 1001)
# saturated and grey patches: a wrong matrix or range moves them by ten levels and more
COLOURS = np.array(
    [
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
        [255, 255, 255],
        [0, 0, 0],
        [96, 96, 96],
        [180, 60, 120],
    ],
    np.uint8,
)


def patches(height: int, width: int) -> np.ndarray:
    """A frame of vertical stripes, one a colour."""
    columns = np.minimum(np.arange(width) * len(COLOURS) // width, len(COLOURS) - 1)
    return np.broadcast_to(COLOURS[columns], (height, width, 3)).copy()


def clip(frames: int, height: int = 48, width: int = 112) -> list[np.ndarray]:
    """Frames whose brightness tells their number."""
    return [np.full((height, width, 3), 20 + 7 * number, np.uint8) for number in range(frames)]


def write(path: Path, frames: list[np.ndarray], **options) -> Path:
    with VideoWriter(path, RATE, **options) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def read(path: Path) -> list[np.ndarray]:
    with VideoReader(path) as reader:
        return list(reader)


def with_sound(path: Path, codec: str = "aac", container_format: str | None = None) -> Path:
    """A clip of half a second with a tone."""
    with av.open(str(path), "w", format=container_format) as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream(codec, rate=16000)
        audio.layout = "mono"
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(clip(12, 48, 64)[number], format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        tone = (8000 * np.sin(np.arange(8000) / 5)).astype(np.int16)[None]
        samples = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        samples.rate = 16000
        container.mux(audio.encode(samples))
        container.mux(audio.encode(None))
    return path


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [
            bytes(p)
            for stream in container.streams.audio
            for p in container.demux(stream)
            if p.size
        ]


def test_lossless_video_returns_every_level(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3, 34, 51, 3), dtype=np.uint8)
    assert np.array_equal(np.stack(read(write(tmp_path / "a.mkv", list(noise)))), noise)


@pytest.mark.parametrize("size", [(64, 112), (720, 1280), (63, 112)])
def test_h264_keeps_colours_within_three_levels(tmp_path, size):
    frame = patches(*size)
    (back,) = read(write(tmp_path / "a.mp4", [frame], quality=1))
    centres = [int((place + 0.5) * size[1] / len(COLOURS)) for place in range(len(COLOURS))]
    row = size[0] // 2
    assert np.abs(back[row, centres].astype(int) - COLOURS.astype(int)).max() <= 3


@pytest.mark.parametrize("matrix", [1, 5, 6])
def test_the_tagged_colour_matrix_is_used(tmp_path, matrix):
    path = tmp_path / "tagged.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 112, 64, "yuv420p"
        stream.codec_context.colorspace = matrix
        frame = av.VideoFrame.from_ndarray(patches(64, 112), format="rgb24")
        container.mux(
            stream.encode(frame.reformat(format="yuv420p", dst_colorspace=min(matrix, 5)))
        )
        container.mux(stream.encode(None))
    (back,) = read(path)
    assert np.abs(back[32, 8::16].astype(int) - COLOURS.astype(int)).max() <= 4


def test_rate_length_and_order_survive(tmp_path):
    path = write(tmp_path / "a.mp4", clip(14))
    with VideoReader(path) as reader:
        assert (reader.info.rate, reader.info.count) == (RATE, 14)
        assert (reader.info.height, reader.info.width) == (48, 112)
        means = [frame.mean() for frame in reader]
    np.testing.assert_allclose(means, [20 + 7 * number for number in range(14)], atol=2)


def test_a_turned_video_is_read_upright(tmp_path):
    path = tmp_path / "turned.mp4"
    frame = np.zeros((48, 112, 3), np.uint8)
    frame[:24] = 200  # bright above; a quarter turn clockwise on display puts it on the right
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 112, 48, "yuv420p"
        stream.set_display_rotation(-90)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    with VideoReader(path) as reader:
        assert (reader.info.height, reader.info.width) == (112, 48)
        (back,) = reader
    assert back[:, 36].mean() > 150 > 50 > back[:, 12].mean()


def test_sound_is_copied_packet_by_packet(tmp_path):
    source = with_sound(tmp_path / "source.mp4")
    out = write(tmp_path / "out.mp4", clip(12), sound_from=str(source))
    assert len(sound_packets(source)) > 5
    assert sound_packets(out) == sound_packets(source)


def test_sound_that_the_container_cannot_carry_is_encoded_anew_and_named(tmp_path):
    source = with_sound(tmp_path / "source.avi", codec="adpcm_ms")
    with VideoWriter(tmp_path / "out.mp4", RATE, sound_from=str(source)) as writer:
        writer.write(clip(1)[0])
    assert len(writer.notes) == 1 and "adpcm_ms; it is encoded as AAC" in writer.notes[0]
    with av.open(str(tmp_path / "out.mp4")) as out:
        assert sum(frame.samples for frame in out.decode(audio=0)) >= 8000


def test_data_and_further_streams_are_passed_over(tmp_path):
    path = with_sound(tmp_path / "source.mp4")
    assert len(read(path)) == 12


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out"])
def test_an_error_leaves_nothing_new_and_keeps_what_was_there(tmp_path, name):
    if name == "out.mp4":
        (tmp_path / name).write_bytes(b"precious")
    before = sorted(tmp_path.iterdir())
    info = VideoInfo(48, 112, RATE)
    with pytest.raises(RuntimeError, match="solver"), open_sink(str(tmp_path / name), info) as sink:
        for frame in clip(3):
            sink.write(frame)
        raise RuntimeError("the solver failed")
    assert sorted(tmp_path.iterdir()) == before
    if before:
        assert (tmp_path / name).read_bytes() == b"precious"


def cut_at_the_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def spoil_the_middle(path: Path) -> None:
    payload = bytearray(path.read_bytes())
    middle = len(payload) // 2
    payload[middle : middle + 400] = bytes(400)
    path.write_bytes(payload)


def cut_the_middle_with_the_index_in_front(path: Path) -> None:
    with (
        av.open(str(path)) as old,
        av.open(str(path) + ".mp4", "w", options={"movflags": "faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    fast = Path(str(path) + ".mp4")
    path.write_bytes(fast.read_bytes()[: fast.stat().st_size // 2])


@pytest.mark.parametrize("damage", [cut_at_the_end, cut_the_middle_with_the_index_in_front])
def test_a_cut_video_is_refused_with_its_name(tmp_path, damage):
    noise = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    path = write(tmp_path / "clip.mp4", list(noise))
    damage(path)
    with pytest.raises(UserError, match=r"clip\.mp4"):
        read(path)


def test_a_cut_matroska_file_is_refused_and_a_live_one_is_not(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), dtype=np.uint8)
    path = write(tmp_path / "clip.mkv", list(noise))
    whole = path.read_bytes()
    assert len(read(path)) == 9
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(UserError, match=r"clip\.mkv is cut short"):
        read(path)
    # a recording that was never finished has no length to fall short of
    segment = whole.index(bytes.fromhex("18538067")) + 4
    path.write_bytes(whole[:segment] + b"\x01" + b"\xff" * 7 + whole[segment + 8 :])
    assert len(read(path)) == 9


@pytest.mark.parametrize("turn, aspect", [(0, Fraction(4, 3)), (-90, Fraction(3, 4))])
def test_a_turned_pixel_is_as_high_as_it_was_wide(tmp_path, turn, aspect):
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 112, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        stream.set_display_rotation(turn)
        frame = np.zeros((48, 112, 3), np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    with VideoReader(path) as reader:
        assert reader.info.aspect == aspect


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "notes.mp4").write_text("not a video")
    with pytest.raises(UserError, match=r"notes\.mp4 is not a readable video"):
        open_source(str(tmp_path / "notes.mp4"))
    with pytest.raises(UserError, match="does not exist"):
        open_source(str(tmp_path / "nowhere.mp4"))


def test_a_sound_file_has_no_video_stream(tmp_path):
    path = tmp_path / "tone.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        silence.rate = 8000
        container.mux(stream.encode(silence))
    with pytest.raises(UserError, match="no video stream"):
        open_source(str(path))


def test_folders_are_read_in_natural_order_and_written_as_pngs(tmp_path):
    frames = clip(12, 6, 8)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"frame{number}.png")
    (tmp_path / "Thumbs.db").write_text("")
    reader = FolderReader(tmp_path)
    assert reader.info.count == 12
    with FolderWriter(tmp_path / "out") as writer:
        for frame in reader:
            writer.write(frame)
    back = list(FolderReader(tmp_path / "out"))
    assert np.array_equal(np.stack(back), np.stack(frames))


@pytest.mark.parametrize("mode", ["L", "I;16", "LA", "P", "RGBA", "1"])
def test_pictures_of_every_mode_keep_their_greys(tmp_path, mode):
    levels = np.array([[0, 64, 128, 255]], np.uint8)
    if mode == "I;16":
        image = Image.fromarray(levels.astype(np.uint16) * 257)
    elif mode == "1":
        levels = np.array([[0, 255, 0, 255]], np.uint8)
        image = Image.fromarray(levels).convert("1")
    else:
        image = Image.fromarray(levels).convert(mode)
    assert image.mode == mode
    image.save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png")[..., 0], levels)


def test_pictures_without_a_known_white_are_refused(tmp_path):
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match="save it with 8 or 16 bits"):
        FolderReader(tmp_path)


def test_natural_order_counts():
    names = ["f10.png", "f9.png", "F1.png", "a.png", "f9b.png"]
    assert sorted(names, key=natural_key) == ["a.png", "F1.png", "f9.png", "f9b.png", "f10.png"]


def test_folders_with_mixed_sizes_or_nothing_in_them_are_refused(tmp_path):
    with pytest.raises(UserError, match="no images"):
        FolderReader(tmp_path)
    Image.fromarray(clip(1, 6, 8)[0]).save(tmp_path / "a.png")
    Image.fromarray(clip(1, 8, 8)[0]).save(tmp_path / "b.png")
    with pytest.raises(UserError, match=r"b\.png is 8x8 and the first frame is 8x6"):
        list(FolderReader(tmp_path))


def test_a_folder_with_something_in_it_is_never_replaced(tmp_path):
    (tmp_path / "keep.txt").write_text("precious")
    with pytest.raises(UserError, match="not empty"):
        open_sink(str(tmp_path), VideoInfo(6, 8, RATE))


@pytest.mark.parametrize("name", ["out.gif", "file/out.mp4"])
def test_names_that_cannot_be_written_are_refused_at_once(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="out"):
        open_sink(str(tmp_path / name), VideoInfo(6, 8, RATE))


def test_raw_frames_go_through_a_pipe_unchanged():
    noise = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), dtype=np.uint8)
    out = io.BytesIO()
    with RawReader((4, 6), stream=io.BytesIO(noise.tobytes())) as reader, RawWriter(out) as writer:
        for frame in reader:
            writer.write(frame)
    assert out.getvalue() == noise.tobytes()


def test_a_pipe_that_ends_inside_a_frame_or_has_no_size_is_refused():
    with pytest.raises(UserError, match=r"inside frame 1.*raw\.size=\[4,6\]"):
        list(RawReader((4, 6), stream=io.BytesIO(bytes(100))))
    with pytest.raises(UserError, match=r"raw\.size=\[HEIGHT,WIDTH\]"):
        RawReader(None)
    with pytest.raises(UserError, match="gave no frames"):
        list(RawReader((4, 6), stream=io.BytesIO()))


def test_levels_survive_the_tensor():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=-1)
    video = to_video(levels)
    assert video.shape == (1, 3, 1, 16, 16)
    assert (video.min().item(), video.max().item()) == (-1.0, 1.0)
    assert np.array_equal(to_frames(video), levels)
