"""`python -m lvis.warp`: what it writes is the measurement and the mask that lvis.restore takes."""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lvis.data.frames import VideoInfo
from lvis.data.video import VideoReader, VideoWriter, open_sink, open_source
from lvis.restore import command as restore
from lvis.warp import HOLE
from lvis.warp import command as warp
from lvis.warp.arrays import depth_frames

FRAMES, HEIGHT, WIDTH = 5, 32, 48
FOCAL = 40.0
CLIP = np.random.default_rng(0).integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Runs an entry point beside clip.mkv and depth.npz (2 everywhere); returns status and standard error."""
    monkeypatch.chdir(tmp_path)
    with VideoWriter(tmp_path / "clip.mkv", Fraction(24)) as writer:
        for frame in CLIP:
            writer.write(frame)
    np.savez(tmp_path / "depth.npz", depth=np.full((FRAMES, HEIGHT, WIDTH), 2.0, np.float32))

    def call(*arguments: str, program=warp) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [program.__name__, *arguments])
        status = 0
        try:
            program.main()
        except SystemExit as end:
            status = int(end.code or 0)
        return status, capfd.readouterr().err

    return call


def read(path: Path) -> np.ndarray:
    with open_source(str(path)) as source:
        return np.stack(list(source))


SIDEWAYS = [f"camera.focal={FOCAL}", "camera.translate=[0.2,0,0]"]  # 4 pixels at depth 2


def test_the_warped_clip_and_its_mask_are_restored_by_task_inpaint(run, tmp_path):
    status, said = run("input=clip.mkv", "depth=depth.npz", *SIDEWAYS, "output=view")
    assert status == 0, said
    assert "8.3% of them holes" in said and "lvis.restore input=view/warped.mkv" in said
    video, mask = read(tmp_path / "view/warped.mkv"), read(tmp_path / "view/mask.mkv")
    assert np.array_equal(video[:, :, :-4], CLIP[:, :, 4:])
    assert (video[:, :, -4:] == HOLE).all()
    assert (mask[:, :, :-4] == 255).all() and (mask[:, :, -4:] == 0).all()
    with VideoReader(tmp_path / "view/warped.mkv") as reader:
        assert reader.info.rate == 24
    status, said = run(
        "input=view/warped.mkv", "mask=view/mask.mkv", "task=inpaint", "solver=pinv",
        "output=out.mkv", program=restore,
    )  # fmt: skip
    assert status == 0, said
    restored = read(tmp_path / "out.mkv")
    assert np.array_equal(restored[:, :, :-4], CLIP[:, :, 4:])


def test_the_camera_takes_its_frames_to_get_there(run, tmp_path):
    status, said = run(
        "input=clip.mkv", "depth=depth.npz", *SIDEWAYS, "camera.frames=2", "output=view"
    )
    assert status == 0, said
    holes = (read(tmp_path / "view/mask.mkv") == 0).all(axis=(1, 3)).sum(axis=-1)
    assert holes.tolist() == [0, 2, 4, 4, 4]


def test_a_users_warp_and_mask_stand_in_for_depth_and_camera(run, tmp_path):
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    np.save(tmp_path / "warp.npy", np.stack([columns + 4, rows], axis=-1))
    kept = np.full((HEIGHT, WIDTH), 255, np.uint8)
    kept[:, :7] = 0
    Image.fromarray(kept).save(tmp_path / "kept.png")
    status, said = run(
        "input=clip.mkv", "warp=warp.npy", "mask=kept.png", "output=view", "format=mp4"
    )
    assert status == 0, said
    mask = read(tmp_path / "view/mask.mkv")[..., 0] == 255
    assert mask[:, :, 7:-4].all() and not mask[:, :, :7].any() and not mask[:, :, -4:].any()
    assert read(tmp_path / "view/warped.mp4").shape == CLIP.shape


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".tif", "16.png", "8.png", "", ".mkv"])
@pytest.mark.parametrize("meaning", ["depth", "inverse"])
def test_every_form_of_depth_says_the_same(tmp_path, suffix, meaning):
    depth = np.linspace(1, 5, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    path = tmp_path / f"depth{suffix}"
    values = depth if meaning == "depth" else 1 / depth
    level = (depth - 1) / 4 if meaning == "depth" else (1 / depth - 1 / 5) / (1 - 1 / 5)
    if suffix == ".npy":
        np.save(path, values[None].repeat(2, 0))
    elif suffix == ".npz":
        np.savez(path, other=np.zeros(3), depth=values)
    elif suffix == ".tif":
        Image.fromarray(values.astype(np.float32)).save(path)
    elif suffix == "16.png":
        Image.fromarray(np.rint(level * 65535).astype(np.uint16)).save(path)
    elif suffix == "8.png":
        Image.fromarray(np.rint(level * 255).astype(np.uint8)).save(path)
    else:
        with open_sink(str(path), VideoInfo(HEIGHT, WIDTH, Fraction(25))) as sink:
            for _ in range(2):
                grey = np.rint(level * 255).astype(np.uint8)
                sink.write(np.repeat(grey[..., None], 3, axis=-1))
    frames = depth_frames(str(path), (HEIGHT, WIDTH), meaning, (1.0, 5.0))
    for found in (next(frames), next(frames)):
        # half a step of 8 bits of inverse depth is 0.04 at depth 5
        assert np.abs(found - depth).max() < 0.05


WRONG = {
    "no input": (["depth=depth.npz", "output=o"], "input is not given"),
    "no output": (["input=clip.mkv", "depth=depth.npz"], "output is not given"),
    "no geometry": (["input=clip.mkv", "output=o"], "give one of depth=PATH"),
    "both": (["input=clip.mkv", "output=o", "depth=depth.npz", "warp=w.npy"], "give one of depth=PATH"),
    "missing clip": (["input=no.mkv", "output=o", "depth=depth.npz"], "no.mkv does not exist"),
    "missing depth": (["input=clip.mkv", "output=o", "depth=no.npy"], "no.npy does not exist"),
    "missing depth video": (["input=clip.mkv", "output=o", "depth=no.mkv"], "no.mkv does not exist"),
    "missing depth image": (["input=clip.mkv", "output=o", "depth=no.png"], "no.png"),
    "small depth": (["input=clip.mkv", "output=o", "depth=small.npy"], "is 8x6 and the video is 48x32"),
    "short depth": (["input=clip.mkv", "output=o", "depth=short.npy"], "short.npy ends before the video"),
    "flat array": (["input=clip.mkv", "output=o", "depth=line.npy"], "(7,)"),
    "pickle": (["input=clip.mkv", "output=o", "depth=pickle.npy"], "it holds no plain numbers"),
    "broken archive": (["input=clip.mkv", "output=o", "depth=bad.npz"], "bad.npz cannot be read"),
    "empty depth": (["input=clip.mkv", "output=o", "depth=zero.npy"], "no value above 0 in frame 0"),
    "grey depth": (["input=clip.mkv", "output=o", "depth=grey.png"], "depth_range=[NEAR,FAR]"),
    "bad range": (["input=clip.mkv", "output=o", "depth=grey.png", "depth_range=[3,1]"], "depth_range=[3, 1]"),
    "bad meaning": (["input=clip.mkv", "output=o", "depth=depth.npz", "depth_meaning=far"], "depth_meaning=far"),
    "bad warp": (["input=clip.mkv", "output=o", "warp=depth.npz"], "give (T, H, W, 2)"),
    "small mask": (["input=clip.mkv", "output=o", "depth=depth.npz", "mask=grey8.png"], "grey8.png is 8x6"),
    "bad angle": (["input=clip.mkv", "output=o", "depth=depth.npz", "camera.yaw=left"], "camera.yaw=left"),
    "bad vector": (["input=clip.mkv", "output=o", "depth=depth.npz", "camera.translate=1"], "camera.translate=1"),
    "bad format": (["input=clip.mkv", "output=o", "depth=depth.npz", "format=gif"], "format=gif"),
    "unknown key": (["input=clip.mkv", "output=o", "depth=depth.npz", "camera.roll=3"], "roll"),
    "over the input": (["input=o/warped.mkv", "output=o", "depth=depth.npz"], "both read and written"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_sentence_and_no_video_is_left(run, tmp_path, case):
    np.save(tmp_path / "small.npy", np.ones((6, 8)))
    np.save(tmp_path / "short.npy", np.ones((3, HEIGHT, WIDTH)))
    np.save(tmp_path / "line.npy", np.ones(7))
    np.save(tmp_path / "zero.npy", np.zeros((HEIGHT, WIDTH)))
    (tmp_path / "bad.npz").write_bytes(b"PK nothing of the kind")
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    Image.fromarray(np.full((HEIGHT, WIDTH), 128, np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(np.full((6, 8), 255, np.uint8)).save(tmp_path / "grey8.png")
    arguments, expected = WRONG[case]
    status, said = run(*arguments)
    assert status == 2 if case != "unknown key" else status
    assert expected in " ".join(said.split())
    assert "Traceback" not in said
    assert not [path for path in (tmp_path / "o").rglob("*") if path.is_file()]
