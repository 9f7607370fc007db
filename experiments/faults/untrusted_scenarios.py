"""Files made to do harm: refused in one sentence, nothing of them run or followed, nothing large unpacked."""

import io
import os
import pickle
import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import torch
import training as t
from promised import USER_ERROR, Outcome, Scenario
from shards import (
    FIRST,
    FRAMES,
    SIDE,
    folder_of_shards,
    left_out,
    members,
    rewrite,
    train_on,
    write_video,
)

MOST_MORE = 150  # MB that a refusal may need above what restoring a harmless video needs
ABSURD = 30_000  # pixels per side
HUGE = 8192  # pixels per side of what a bomb unpacks to


class Exploit:
    """Unpickling this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def code_in_weights(weights: Path, folder: Path) -> Outcome:
    """A teacher's .pt that makes a folder when it is unpickled."""
    marker = folder / "executed"
    torch.save({"blocks.0.weight": Exploit(marker)}, folder / "teacher.pt")
    option = f"model.teacher.source={folder / 'teacher.pt'}"
    _refused(t.run(t.command(weights, folder / "run", option)), "is code rather than tensors")
    assert not marker.exists()
    pickle.loads(pickle.dumps(Exploit(marker)))  # it would have worked
    assert marker.exists()
    return Outcome("refused with status 2 and one sentence; the code was not run", None)


def absurd_header(weights: Path, folder: Path) -> Outcome:
    """A teacher's safetensors whose header claims 4 exabytes."""
    teacher = folder / "teacher"
    teacher.mkdir()
    for path in (weights / "teacher").glob("*.json"):
        (teacher / path.name).write_bytes(path.read_bytes())
    claim = struct.pack("<Q", 2**62) + b"{}"
    (teacher / "diffusion_pytorch_model.safetensors").write_bytes(claim)
    command = t.command(weights, folder / "run", f"model.teacher.source={teacher}")
    _refused(t.run(command), "is damaged or not safetensors")
    return Outcome("refused with status 2 and one sentence", None)


def hostile_names(weights: Path, folder: Path) -> Outcome:
    """A shard with pickles in it and with members called ../../escape.* and /escape.*."""
    shards, marker = folder_of_shards(folder), folder / "executed"
    contents = dict(members(shards / FIRST))
    key = next(iter(contents)).partition(".")[0]
    payload = pickle.dumps(Exploit(marker))
    contents |= {f"{key}.pyd": payload, f"{key}.pickle": payload, "/escape.json": b"{}"}
    contents |= {f"../../escape.{e}": contents[f"{key}.{e}"] for e in ("mp4", "json")}
    rewrite(shards / FIRST, contents)
    ended = train_on(weights, folder, shards, "trainer.max_steps=8")
    assert ended.status == 0, ended.said[-2000:]
    assert "not a valid sample key" in left_out(folder, "escape'")
    assert not marker.exists() and not list(folder.parent.glob("**/escape*"))
    return Outcome("that sample was left out and said so; no file outside, nothing unpickled", 0)


def command_in_folder(weights: Path, folder: Path) -> Outcome:
    """data.folder=pipe:COMMAND, as webdataset would run it."""
    marker = folder / "executed"
    ended = train_on(weights, folder, f"pipe:touch {marker}")
    _refused(ended, "URLs and commands are not read")
    assert not marker.exists()
    return Outcome("refused with status 2 and one sentence; the command was not run", None)


def command_in_index(weights: Path, folder: Path) -> Outcome:
    """An index whose list of shards has a pipe:COMMAND in it."""
    shards, marker = folder_of_shards(folder), folder / "executed"
    index = shards / "index.json"
    index.write_text(index.read_text().replace(FIRST, f"pipe:touch {marker.name}"))
    _refused(train_on(weights, folder, shards), "which is not a tar file in its folder")
    assert not marker.exists() and not Path(marker.name).exists()
    return Outcome("refused with status 2 and one sentence; the command was not run", None)


def endless_clip(weights: Path, folder: Path) -> Outcome:
    """A clip of 5,000 frames in a shard whose clips have 9."""
    shards = folder_of_shards(folder)
    contents = dict(members(shards / FIRST))
    name = next(name for name in contents if name.endswith(".mp4"))
    contents[name] = _black(SIDE, 5000)
    metadata = name.replace(".mp4", ".json")
    contents[metadata] = contents[metadata].replace(b'"video_crc32"', b'"crc32"')
    rewrite(shards / FIRST, contents)
    ended = train_on(weights, folder, shards, "trainer.max_steps=8")
    assert ended.status == 0, ended.said[-2000:]
    return Outcome(f"the first {FRAMES} frames were decoded, and no more", 0)


def absurd_video(weights: Path, folder: Path) -> Outcome:
    """A Matroska file whose header says 30,000 x 30,000."""
    path = write_video(folder / "absurd.mkv", np.zeros((2, 300, 300, 3), np.uint8))
    content = path.read_bytes()
    for element in (b"\xb0\x82", b"\xba\x82"):  # PixelWidth and PixelHeight, two bytes each
        said = element + struct.pack(">H", 300)
        assert content.count(said) == 1
        content = content.replace(said, element + struct.pack(">H", ABSURD))
    path.write_bytes(content)
    return _restoring(folder, path, "above max_pixels")


def video_bomb(weights: Path, folder: Path) -> Outcome:
    """An MP4 of some kilobytes that says 32 x 32 and holds a frame of 8,192 x 8,192."""
    content = _black(HUGE, 1)
    said = content.replace(struct.pack(">HH", HUGE, HUGE), struct.pack(">HH", 32, 32))
    assert said != content and len(content) < 2**20, len(content)
    path = folder / "bomb.mp4"
    path.write_bytes(said)
    return _restoring(folder, path, "bomb.mp4")


def image_bomb(weights: Path, folder: Path) -> Outcome:
    """A folder with a PNG of some kilobytes that unpacks to 20,000 x 20,000."""
    side = 20_000
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
    (folder / "frames").mkdir()
    (folder / "frames" / "0.png").write_bytes(png)
    return _restoring(folder, folder / "frames", "0.png")


def playlist(weights: Path, folder: Path) -> Outcome:
    """A playlist called .mp4 that has FFmpeg open another file."""
    write_video(folder / "secret.mp4", np.zeros((9, SIDE, SIDE, 3), np.uint8))
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n"
    (folder / "innocent.mp4").write_text(text)
    return _restoring(folder, folder / "innocent.mp4", "is not a readable video")


def _restoring(folder: Path, source: Path, words: str) -> Outcome:
    """`lvis.restore` of `source` refuses it, and needs hardly more memory than for a harmless video."""
    ended, used = t.weighed(_restore(source, folder / "restored.mp4"))
    _refused(ended, words)
    assert not (folder / "restored.mp4").exists()
    more = used - _harmless(folder.parent)
    assert more < MOST_MORE, f"{more:.0f} MB"
    return Outcome(f"refused with status 2 and one sentence, within {MOST_MORE} MB", None)


def _harmless(folder: Path) -> float:
    """MB that restoring a small video takes; measured once a folder."""
    known = folder / "harmless.txt"
    if not known.exists():
        source = write_video(folder / "harmless.mkv", np.zeros((9, SIDE, SIDE, 3), np.uint8))
        ended, used = t.weighed(_restore(source, folder / "harmless_restored.mp4"))
        assert ended.status == 0, ended.said[-2000:]
        known.write_text(str(used))
    return float(known.read_text())


def _restore(source: Path, output: Path) -> Sequence[str]:
    options = ("task=deblur", "solver=pinv", "device=cpu")
    return [sys.executable, "-m", "lvis.restore", f"input={source}", f"output={output}", *options]


def _refused(ended: t.Ended, words: str) -> None:
    sentence = t.last_sentence(ended.said)
    assert ended.status == USER_ERROR and words in sentence, (ended.status, ended.said[-2000:])
    assert "Traceback" not in ended.said, ended.said[-2000:]


def _black(side: int, frames: int) -> bytes:
    """An MP4 of black frames."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        options = {"preset": "ultrafast", "crf": "40"}
        stream = container.add_stream("libx264", rate=16, options=options)
        stream.width, stream.height, stream.pix_fmt = side, side, "yuv420p"
        planes = np.full((side * 3 // 2, side), 128, np.uint8)
        picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        for number in range(frames):
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return buffer.getvalue()


SCENARIOS: dict[str, tuple[str, Scenario]] = {
    "code_in_weights": ("untrusted: weights that carry code", code_in_weights),
    "absurd_header": ("untrusted: a header of 4 exabytes in weights", absurd_header),
    "hostile_names": ("untrusted: `../` names and pickles in a shard", hostile_names),
    "command_in_folder": ("untrusted: `pipe:` for a folder of shards", command_in_folder),
    "command_in_index": ("untrusted: `pipe:` in the list of shards", command_in_index),
    "endless_clip": ("untrusted: a clip that does not end", endless_clip),
    "absurd_video": ("untrusted: a video that says 30,000 x 30,000", absurd_video),
    "video_bomb": ("untrusted: a small video that is 8,192 x 8,192", video_bomb),
    "image_bomb": ("untrusted: a small PNG that is 20,000 x 20,000", image_bomb),
    "playlist": ("untrusted: a playlist called .mp4", playlist),
}
