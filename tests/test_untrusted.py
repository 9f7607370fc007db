"""Pictures and videos that were made to do harm: one sentence, before anything is unpacked."""

import io
import struct
import tarfile
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lvis.data.frames import FolderReader, read_image
from lvis.data.video import VideoReader, VideoWriter, open_source
from lvis.errors import UserError
from lvis.evaluate.clips import list_clips
from lvis.operators import load_mask
from lvis.restore.measuring import blocks_of


def write(path: Path, frames: int = 3, side: int = 64) -> Path:
    rng = np.random.default_rng(0)
    with VideoWriter(path, Fraction(16)) as writer:
        for frame in rng.integers(0, 256, (frames, side, side, 3), dtype=np.uint8):
            writer.write(frame)
    return path


def png(path: Path, side: int) -> Path:
    """A PNG of one bit a pixel, all black: `side` squared unpack from a thousandth of their size."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((-(-side // 8) + 1) * side))
    parts = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in parts
        )
    )
    return path


def refused(error: pytest.ExceptionInfo[UserError]) -> bool:
    return "\n" not in str(error.value)


def test_a_video_whose_header_says_too_much_is_refused(tmp_path):
    path = write(tmp_path / "clip.mkv")
    with VideoReader(path, 64 * 64) as reader:
        assert len(list(reader)) == 3
    with pytest.raises(UserError, match="above max_pixels=4095") as error:
        open_source(str(path), most_pixels=4095)
    assert refused(error)


def test_a_header_that_says_less_than_the_stream_holds_does_not_help(tmp_path):
    path = write(tmp_path / "clip.mp4", side=256)
    content = bytearray(path.read_bytes())
    entry = content.index(b"avc1", content.index(b"stsd"))
    content[entry + 28 : entry + 32] = struct.pack(">HH", 16, 16)
    path.write_bytes(content)
    with pytest.raises(UserError) as error, VideoReader(path, 64 * 64) as reader:
        list(reader)
    assert refused(error)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile secret.mp4\n",
    ],
)
def test_a_playlist_that_calls_itself_a_video_opens_no_other_file(tmp_path, text):
    write(tmp_path / "secret.mp4")
    (tmp_path / "innocent.mp4").write_text(text)
    with pytest.raises(UserError, match="not a readable video"):
        VideoReader(tmp_path / "innocent.mp4")
    with pytest.raises(UserError, match="cannot be read as a video"):
        load_mask(tmp_path / "innocent.mp4")


def test_an_image_that_unpacks_to_too_much_is_refused(tmp_path):
    # PIL itself warns of the first and refuses the second
    for side in (9000, 20_000):
        bomb = png(tmp_path / "0.png", side)
        for open_it in (read_image, load_mask, lambda path: FolderReader(path.parent)):
            with pytest.raises(UserError, match=r"0\.png (says it is|is larger than)") as error:
                open_it(bomb)
            assert refused(error)
    assert read_image(png(tmp_path / "0.png", 64)).shape == (64, 64, 3)


def test_a_clip_that_must_be_held_whole_may_not_be_endless(monkeypatch, tmp_path):
    monkeypatch.setattr("lvis.restore.measuring.MOST_HELD", 5 * 64 * 64 * 3)
    for frames in (5, 6):
        with VideoReader(write(tmp_path / "clip.mkv", frames)) as source:
            if frames == 5:
                assert [len(block) for block in blocks_of(source, 3, whole=True)] == [5]
                continue
            with pytest.raises(UserError, match="more than 5 frames of 64x64"):
                list(blocks_of(source, 3, whole=True))
    with VideoReader(write(tmp_path / "clip.mkv", 40)) as source:  # a stream has no end
        assert [len(block) for block in blocks_of(source, 3, whole=False)] == [9, 12, 12, 7]


def test_a_sparse_member_of_a_tar_is_no_clip(tmp_path):
    video = write(tmp_path / "clip.mkv").read_bytes()
    with tarfile.open(tmp_path / "shard.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        entry = tarfile.TarInfo("clip.mkv")
        entry.size = len(video)
        archive.addfile(entry, io.BytesIO(video))
        # the same name again, one block long, that says it unpacks to 2^40 bytes
        sparse = tarfile.TarInfo("clip.mkv")
        sparse.type, sparse.size = tarfile.GNUTYPE_SPARSE, 0
        block = bytearray(sparse.tobuf(tarfile.GNU_FORMAT))
        block[386:398], block[398:410] = b"00000000000\0", b"00000000000\0"
        block[483:495] = b"\x80" + (2**40).to_bytes(11, "big")
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        archive.fileobj.write(block)
        archive.offset += len(block)
    with tarfile.open(tmp_path / "shard.tar") as archive:
        assert [member.size for member in archive] == [len(video), 2**40]
    (clip,) = list_clips(str(tmp_path / "shard.tar"), None, 3, (32, 32), 0)
    assert clip.load().shape == (1, 3, 3, 32, 32)


def test_a_codec_that_is_not_known_is_one_sentence(tmp_path):
    """Found by tests/fuzz: one bit of the codec's name."""
    path = write(tmp_path / "clip.mp4")
    content = path.read_bytes()
    assert content.count(b"avc1") >= 1
    path.write_bytes(content.replace(b"avc1", b"zzz9"))
    with pytest.raises(UserError, match="unknown codec; convert it"):
        open_source(str(path))
