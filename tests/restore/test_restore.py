"""`python -m lvis.restore`: measurements in, restored videos out, one sentence for what is wrong."""

import json
import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from lvis.backbone import TextEncoder, WanTransformer
from lvis.data.frames import VideoInfo, to_frames
from lvis.data.video import VideoReader, VideoWriter, open_sink, open_source
from lvis.metrics import PSNR, SSIM
from lvis.operators import GaussianBlur
from lvis.restore import command as restore
from lvis.vae import LeanVAE
from lvis.weights import save_lean_vae, save_text_encoder, save_transformer

FRAMES, HEIGHT, WIDTH = 14, 36, 52


def moving_disk(frames: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A bright disk that crosses a gradient, uint8 (T, H, W, 3)."""
    rows, columns = np.mgrid[:height, :width]
    clip = []
    for number in range(frames):
        centre = width * (0.2 + 0.6 * number / frames)
        disk = (rows - height / 2) ** 2 + (columns - centre) ** 2 < (height / 4) ** 2
        channels = [60 + 2 * columns, 90 + 2 * rows, 120 + 0 * rows]
        clip.append(np.stack([np.where(disk, 220, channel) for channel in channels], axis=-1))
    return np.stack(clip).astype(np.uint8)


@pytest.fixture
def clip(tmp_path) -> Path:
    path = tmp_path / "clip.mkv"
    with VideoWriter(path, Fraction(24)) as writer:
        for frame in moving_disk():
            writer.write(frame)
    return path


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Runs the command in tmp_path; returns its exit status and what it said on standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["lvis.restore", *arguments])
        status = 0
        try:
            restore.main()
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capfd.readouterr()
        assert captured.out == ""
        return status, captured.err

    return call


@pytest.fixture(scope="module")
def student_keys(tmp_path_factory) -> list[str]:
    """Overrides that put a student of random weights, a few thousand parameters, in the default's place."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    encoder = TextEncoder.tiny()
    transformer = WanTransformer(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        ffn_dim=32,
        text_dim=encoder.text_dim,
        text_len=32,
        freq_dim=16,
    )
    vae = LeanVAE(low_width=8, high_width=8, branch_layers=1, fusion_layers=1, ista_layers=1)
    save_transformer(transformer, folder / "student", {"vae": "lean", "timestep": 300.0})
    save_lean_vae(vae, folder / "vae")
    save_text_encoder(encoder, folder / "text")
    return [
        f"solver.weights={folder / 'student'}",
        f"model.vaes.lean.source={folder / 'vae'}",
        f"model.text_encoder.source={folder / 'text'}",
    ]


def read(path: Path) -> np.ndarray:
    with open_source(str(path)) as source:
        return np.stack(list(source))


def psnr(video: np.ndarray, reference: np.ndarray) -> float:
    error = np.square(video.astype(float) - reference.astype(float)).mean()
    return float(10 * np.log10(255**2 / error))


def test_a_clean_clip_is_measured_restored_and_scored(run, clip, tmp_path):
    status, said = run(
        "input=clip.mkv", "output=out.mkv", "degrade=true", "task=deblur", "solver=pinv",
        "compare=true", "report=report.json", "save_measurement=y.mkv",
    )  # fmt: skip
    assert status == 0, said
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "clip.mkv", "out.mkv", "out_compare.mkv", "report.json", "y.mkv",
    ]  # fmt: skip
    restored = read(tmp_path / "out.mkv")
    assert restored.shape == moving_disk().shape
    with VideoReader(tmp_path / "out.mkv") as reader:
        assert reader.info.rate == 24
    scores = json.loads((tmp_path / "report.json").read_text())["scores"]
    assert scores["pinv"][PSNR] > scores["measurement"][PSNR] + 1
    assert scores["pinv"][SSIM] > scores["measurement"][SSIM]
    # the report is of the tensors; what was written differs by its rounding to 8 bits
    assert psnr(restored, moving_disk()) == pytest.approx(scores["pinv"][PSNR], abs=0.5)
    assert "frames/s" in said and "first frame after" in said
    compared = read(tmp_path / "out_compare.mkv")
    assert len(compared) == FRAMES and compared.shape[2] >= 3 * WIDTH


def test_a_saved_measurement_is_restored_as_the_real_thing(run, clip, tmp_path):
    run("input=clip.mkv", "output=a.mkv", "degrade=true", "task=inpaint", "solver=pinv",
        "save_measurement=y.mkv")  # fmt: skip
    mask = np.asarray(Image.open(tmp_path / "y_mask.png"))
    assert mask.shape == (HEIGHT, WIDTH) and abs((mask > 0).mean() - 0.5) < 0.01
    status, said = run(
        "input=y.mkv", "output=b.mkv", "task=inpaint", "solver=pinv", "mask=y_mask.png"
    )
    assert status == 0, said
    assert np.abs(read(tmp_path / "a.mkv").astype(int) - read(tmp_path / "b.mkv")).max() <= 1


def test_a_mask_a_frame_is_saved_and_read_as_video(run, clip, tmp_path):
    run("input=clip.mkv", "output=a.mkv", "degrade=true", "task=inpaint", "solver=pinv",
        "task.operator.per_frame=true", "save_measurement=y.mkv")  # fmt: skip
    masks = read(tmp_path / "y_mask.mkv")
    assert len(masks) == FRAMES and (masks[0] != masks[1]).any()
    status, said = run(
        "input=y.mkv",
        "output=b.mkv",
        "task=inpaint",
        "solver=pinv",
        "mask=y_mask.mkv",
        "compare=true",
    )
    assert status == 0, said
    assert np.abs(read(tmp_path / "a.mkv").astype(int) - read(tmp_path / "b.mkv")).max() <= 1


def test_a_small_measurement_becomes_four_times_as_large(run, clip, tmp_path):
    status, said = run("input=clip.mkv", "output=out", "task=sr4", "solver=pinv")
    assert status == 0, said
    assert read(tmp_path / "out").shape == (FRAMES, 4 * HEIGHT, 4 * WIDTH, 3)


def test_a_size_that_x4_does_not_divide_is_padded_and_cropped_back(run, clip, tmp_path):
    status, said = run(
        "input=clip.mkv",
        "output=out.mkv",
        "task=sr4",
        "solver=pinv",
        "degrade=true",
        "size=[30,45]",
    )
    assert status == 0, said
    assert read(tmp_path / "out.mkv").shape == (FRAMES, 30, 45, 3)


def test_an_operator_that_reads_the_future_is_restored_at_the_end(run, clip, tmp_path):
    status, said = run(
        "input=clip.mkv", "output=out.mkv", "task=temporal_average", "task.operator.border=circular",
        "task.operator.window=3",
        "solver=pinv", "degrade=true",
    )  # fmt: skip
    assert status == 0, said
    assert np.abs(read(tmp_path / "out.mkv").astype(int) - moving_disk()).max() <= 1
    assert "held in memory" in said


def test_the_student_restores_with_the_settings_it_was_distilled_with(
    run, clip, tmp_path, student_keys
):
    for task in ("deblur", "sr4", "inpaint"):
        status, said = run(
            "input=clip.mkv", f"output={task}.mp4", f"task={task}", "degrade=true", "report=r.json",
            "overwrite=true", "prompt=a red disk", *student_keys,
        )  # fmt: skip
        assert status == 0, said
        assert read(tmp_path / f"{task}.mp4").shape == moving_disk().shape
        report = json.loads((tmp_path / "r.json").read_text())
        assert list(report["scores"]) == ["measurement", "pinv", "student"]
        assert all(spent > 0 for spent in report["timings"].values())


def test_a_student_of_another_vae_is_refused(run, clip, student_keys):
    status, said = run("input=clip.mkv", "output=out.mp4", "vae=wan", *student_keys)
    assert status == 2 and "set vae=lean" in said


def test_sound_stays_beside_the_pictures(run, tmp_path):
    with av.open(str(tmp_path / "loud.mp4"), "w") as container:
        video, audio = (
            container.add_stream("libx264", rate=25),
            container.add_stream("aac", rate=16000),
        )
        video.width, video.height, video.pix_fmt, audio.layout = 52, 36, "yuv420p", "mono"
        for frame in moving_disk():
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode(None))
        tone = (8000 * np.sin(np.arange(8000) / 5)).astype(np.int16)[None]
        samples = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        samples.rate = 16000
        container.mux(audio.encode(samples))
        container.mux(audio.encode(None))
    status, said = run("input=loud.mp4", "output=out.mp4", "task=deblur", "solver=pinv")
    assert status == 0, said
    with av.open(str(tmp_path / "loud.mp4")) as old, av.open(str(tmp_path / "out.mp4")) as new:
        sound = [[bytes(p) for p in c.demux(audio=0) if p.size] for c in (old, new)]
        assert sound[0] == sound[1] and len(sound[0]) > 5
        assert new.streams.video[0].average_rate == 25


def test_raw_frames_go_through_standard_input_and_output(tmp_path):
    frames = moving_disk(11)
    arguments = [
        "input=-",
        "output=-",
        f"raw.size=[{HEIGHT},{WIDTH}]",
        "task=temporal_average",
        "solver=pinv",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "lvis.restore", *arguments],
        input=frames.tobytes(), capture_output=True, cwd=tmp_path, timeout=900,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert len(done.stdout) == frames.size
    assert list(tmp_path.iterdir()) == []
    assert b"restored 11 frames" in done.stderr


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


WRONG = {
    "no input": (["output=o.mp4"], "input is not given"),
    "no output": (["input=clip.mkv"], "output is not given"),
    "missing file": (["input=nowhere.mp4", "output=o.mp4"], "nowhere.mp4 does not exist"),
    "broken video": (["input=broken.mp4", "output=o.mp4"], "broken.mp4"),
    "unknown task": (["input=clip.mkv", "output=o.mp4", "task=dehaze"], "dehaze"),
    "unknown key": (["input=clip.mkv", "output=o.mp4", "strength=2"], "strength"),
    "unknown solver": (["input=clip.mkv", "output=o.mp4", "solver=magic"], "magic"),
    "bad value": (["input=clip.mkv", "output=o.mp4", "quality=best"], "quality=best"),
    "bad size": (["input=clip.mkv", "output=o.mp4", "degrade=true", "size=128"], "size=128"),
    "bad suffix": (["input=clip.mkv", "output=o.gif"], "o.gif"),
    "bad operator value": (
        ["input=clip.mkv", "output=o.mp4", "task.operator.noise_std=-1"],
        "noise_std is -1",
    ),
    "bad operator type": (["input=clip.mkv", "output=o.mp4", "task.operator.sigma=[1]"], "sigma=[1] is not a number"),
    "bad operator key": (["input=clip.mkv", "output=o.mp4", "+task.operator.strength=1"], "GaussianBlur"),
    "bad device": (["input=clip.mkv", "output=o.mp4", "device=abacus"], "abacus"),
    "no place": (["input=clip.mkv", "output=clip.mkv/o.mp4"], "clip.mkv is not a folder"),
    "over another file": (["input=clip.mkv", "output=copy.mkv"], "copy.mkv exists already; add overwrite=true"),
    "over the input": (["input=clip.mkv", "output=clip.mkv"], "clip.mkv"),
    "no mask": (["input=clip.mkv", "output=o.mp4", "task=inpaint"], "add mask="),
    "small mask": (["input=clip.mkv", "output=o.mp4", "task=inpaint", "mask=small.png"], "8x6"),
    "short mask": (["input=clip.mkv", "output=o.mp4", "task=inpaint", "mask=short"], "mask ends after 3"),
    "useless mask": (["input=clip.mkv", "output=o.mp4", "mask=small.png"], "no use in this task"),
    "no size": (["input=-", "output=o.mp4"], "raw.size"),
    "a place for no folder": (["input=clip.mkv", "output=/"], "/ is a folder"),
    "a name too long": (["input=clip.mkv", f"output={'o' * 300}.mp4"], "file name too long"),
    "an input's name too long": ([f"input={'i' * 300}.mp4", "output=o.mp4"], "file name too long"),
    "no file for a folder": (["input=clip.mkv", "output=/dev/null"], "/dev/null is a file"),
    "a folder for a report": (["input=clip.mkv", "output=o.mp4", "degrade=true", "report=short"], "short is a folder"),
    "a report over the video": (["input=clip.mkv", "output=o.mp4", "degrade=true", "report=o.mp4"], "written twice"),
    "raw size of a file": (["input=clip.mkv", "output=o.mp4", "raw.size=[8,8]"], "leave raw.size out"),
    "raw rate of a file": (["input=clip.mkv", "output=o.mp4", "raw.rate=8"], "leave raw.rate out"),
    "a mask of nothing": (["input=clip.mkv", "output=o.mp4", "task=inpaint", "mask=black.png"], "no pixel"),
    "a video for a mask": (["input=clip.mkv", "output=o.mp4", "task=inpaint", "mask=copy.mkv"], "not black and white"),
    "an operator left open": (["input=clip.mkv", "output=o.mp4", "task=own"], "add task._target_="),
    "size without clean clip": (["input=clip.mkv", "output=o.mp4", "size=[64,64]"], "degrade=true"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_a_sentence_and_nothing_is_left(run, clip, tmp_path, case):
    (tmp_path / "broken.mp4").write_bytes(clip.read_bytes()[:300])
    Image.fromarray(np.full((6, 8), 255, np.uint8)).save(tmp_path / "small.png")
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(tmp_path / "black.png")
    (tmp_path / "copy.mkv").write_bytes(clip.read_bytes())
    with open_sink(str(tmp_path / "short"), VideoInfo(HEIGHT, WIDTH, Fraction(25))) as sink:
        for _ in range(3):
            sink.write(np.full((HEIGHT, WIDTH, 3), 255, np.uint8))
    before = sorted(tmp_path.rglob("*"))
    arguments, expected = WRONG[case]
    solver = [] if any(key.startswith("solver") for key in arguments) else ["solver=pinv"]
    status, said = run(*arguments, *solver)
    assert status not in (0, None)
    assert expected in said
    assert "Traceback" not in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_varying_frame_rate_is_said(run, tmp_path):
    for name, times in (
        ("even.mkv", range(10)),
        ("uneven.mkv", [0, 1, 2, 3, 4, 30, 31, 32, 33, 60]),
    ):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("ffv1", rate=24)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
            for time, pixels in zip(times, moving_disk(10), strict=True):
                picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                picture.pts, picture.time_base = time, Fraction(1, 24)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    status, said = run("input=even.mkv", "output=even", "solver=pinv")
    assert status == 0 and "varies" not in said
    status, said = run("input=uneven.mkv", "output=uneven", "solver=pinv")
    assert status == 0 and "uneven.mkv: its frame rate varies" in said


def test_an_output_is_replaced_when_that_is_asked_for(run, clip, tmp_path):
    (tmp_path / "out.mkv").write_bytes(b"old")
    status, said = run("input=clip.mkv", "output=out.mkv", "solver=pinv", "overwrite=true")
    assert status == 0, said
    assert len(read(tmp_path / "out.mkv")) == FRAMES


def test_odd_sides_are_said_before_the_end_and_each_sentence_once(run, tmp_path):
    with VideoWriter(tmp_path / "odd.mkv", Fraction(24)) as writer:
        for frame in moving_disk(height=35, width=51):
            writer.write(frame)
    status, said = run("input=odd.mkv", "output=out.mp4", "task=denoise", "solver=pinv")
    assert status == 0, said
    assert said.count("51x35 becomes 52x36") == 1
    assert said.index("51x35 becomes") < said.index("restored 14 frames")


def test_a_missing_student_names_the_way_out(run, clip):
    status, said = run("input=clip.mkv", "output=o.mp4", "task=temporal_average", "model=tiny")
    assert status == 2
    assert "solver=pinv" in said and "lvis.train task=temporal_average" in said


def test_paths_are_used_as_they_were_typed(run, clip, tmp_path):
    clip.rename(tmp_path / "it's [1080p] (1) & é.mkv")
    status, said = run("input=it's [1080p] (1) & é.mkv", "output=2023_12_24", "solver=pinv")
    assert status == 0, said
    assert (tmp_path / "2023_12_24").is_dir()


def test_a_lossy_file_is_trusted_less_than_a_lossless_one(run, tmp_path, student_keys):
    for name in ("lossy.mp4", "lossless.mkv"):
        with VideoWriter(tmp_path / name, Fraction(24), quality=30) as writer:
            for frame in moving_disk(9):
                writer.write(frame)
    restored = {}
    for name, floor in (
        ("lossy.mp4", "null"), ("lossy.mp4", "0.05"), ("lossy.mp4", "0.0023"),
        ("lossless.mkv", "null"), ("lossless.mkv", "0.0023"),
    ):  # fmt: skip
        output = f"{Path(name).stem}_{floor.replace('.', '')}.mkv"
        keys = (f"input={name}", "task=deblur", f"output={output}", f"floor={floor}")
        status, said = run(*keys, *student_keys)
        assert status == 0, said
        assert ("lossily compressed" in said) == (name == "lossy.mp4" and floor == "null")
        restored[Path(name).stem, floor] = read(tmp_path / output)
    assert np.array_equal(restored["lossy", "null"], restored["lossy", "0.05"])
    assert not np.array_equal(restored["lossy", "null"], restored["lossy", "0.0023"])
    assert np.array_equal(restored["lossless", "null"], restored["lossless", "0.0023"])


def test_noise_is_estimated_when_asked_for(run, clip, tmp_path):
    noisy = tmp_path / "noisy.mkv"
    generator = np.random.default_rng(0)
    with VideoWriter(noisy, Fraction(24)) as writer:
        for frame in moving_disk():
            shaken = frame + generator.normal(0, 127.5 * 0.06, frame.shape)
            writer.write(shaken.clip(0, 255).round().astype(np.uint8))
    auto = ["solver=pinv", "task.operator.noise_std=auto"]
    status, said = run(f"input={noisy}", "task=denoise", "output=a.mkv", *auto)
    assert status == 0
    found = float(re.search(r"standard deviation (\S+) of", said).group(1))
    assert found == pytest.approx(0.06, rel=0.15)
    status, said = run(f"input={clip}", "task=inpaint", "output=b.mkv", *auto)
    assert (status, said.count("\n")) == (2, 1)
    assert (
        "cannot tell noise from the holes of a mask; give task.operator.noise_std as a number"
        in said
    )
    status, said = run(f"input={clip}", "task=deblur", "output=c.mkv", "degrade=true", *auto)
    assert status == 2 and "degrade=true makes its own" in said


@pytest.mark.parametrize("sigma", [1.5, 3.0])
def test_the_width_of_a_blur_is_estimated(run, tmp_path, sigma):
    """Noise of the spectrum of natural images, f^-1.2 in amplitude, stands for a scene."""
    rows, columns = torch.fft.fftfreq(128)[:, None], torch.fft.fftfreq(160)
    amplitude = (rows**2 + columns**2).sqrt().clamp_min(1 / 128) ** -1.2
    white = torch.randn(128, 160, generator=torch.Generator().manual_seed(0))
    scene = torch.fft.ifft2(torch.fft.fft2(white) * amplitude).real
    video = (0.3 * scene / scene.std()).expand(1, 3, 9, -1, -1)
    for width, name in ((sigma, "blurred"), (None, "sharp")):
        measured = GaussianBlur(sigma=width)(video) if width else video
        with VideoWriter(tmp_path / f"{name}.mkv", Fraction(24)) as writer:
            for frame in to_frames(measured):
                writer.write(frame)
    keys = ("task=deblur", "solver=pinv", "task.operator.sigma=auto")
    status, said = run("input=blurred.mkv", "output=a.mkv", *keys)
    assert status == 0, said
    found = float(re.search(r"estimated blur: sigma (\S+) pixels", said).group(1))
    assert found == pytest.approx(sigma, rel=0.1)
    status, said = run("input=sharp.mkv", "output=b.mkv", *keys)
    assert status == 0 and "little is changed" in said


def test_a_blur_of_which_nothing_shows_is_not_guessed(run, tmp_path):
    with VideoWriter(tmp_path / "grey.mkv", Fraction(24)) as writer:
        for frame in np.full((9, 64, 64, 3), 128, np.uint8):
            writer.write(frame)
    status, said = run(
        "input=grey.mkv", "output=a.mkv", "task=deblur", "solver=pinv", "task.operator.sigma=auto"
    )
    assert (status, said.count("\n")) == (2, 1)
    assert "too little detail" in said and not (tmp_path / "a.mkv").exists()
