"""`lvis.Restorer`: clips as tensors, arrays and files, streams, masks, and errors in one sentence."""

import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from lvis import Restorer
from lvis.data.frames import to_frames, to_video
from lvis.data.synthetic import synthetic_clip
from lvis.data.video import VideoReader, VideoWriter
from lvis.errors import UserError
from lvis.operators import Downsampling, Inpainting

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    return synthetic_clip(0, 0, 14, (64, 64)).video[None]


@pytest.fixture(scope="module")
def pinv() -> Restorer:
    return Restorer.from_pretrained("tiny", task="deblur", solver="pinv")


def test_importing_lvis_imports_no_torch():
    code = "import sys, lvis; assert 'torch' not in sys.modules; print(lvis.Restorer.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "Restorer\n", done.stderr


def test_the_bundled_student_sharpens_what_was_blurred(clip):
    restorer = Restorer.from_pretrained("tiny", task="deblur", device="cpu")
    y = restorer.operator(clip)
    restored = restorer(y)
    assert restored.shape == clip.shape and restored.abs().max() <= 1
    assert (restored - clip).square().mean() < (y - clip).square().mean()
    with restorer.stream((64, 64)) as stream:
        blocks = [block for n in range(14) for block in stream.push(y[:, :, n : n + 1])]
        assert [block.shape[2] for block in blocks] == [9]
        streamed = torch.cat([*blocks, *stream.finish()], dim=2)
    torch.testing.assert_close(streamed, restored)


def test_every_form_of_a_clip_comes_back_in_its_own(pinv, clip):
    y = pinv.operator(clip)
    whole = pinv(y)
    torch.testing.assert_close(pinv(y[0]), whole[0])
    torch.testing.assert_close(pinv(y.repeat(2, 1, 1, 1, 1)), whole.repeat(2, 1, 1, 1, 1))
    frames = to_frames(y)
    as_array = pinv(frames)
    assert as_array.dtype == np.uint8 and as_array.shape == frames.shape
    np.testing.assert_array_equal(as_array, to_frames(pinv(to_video(frames))))
    np.testing.assert_array_equal(pinv(torch.from_numpy(frames)).numpy(), as_array)


def test_a_file_becomes_an_array_or_another_file(pinv, clip, tmp_path):
    frames = to_frames(pinv.operator(clip))
    with VideoWriter(tmp_path / "y.mkv", Fraction(12)) as writer:
        for frame in frames:
            writer.write(frame)
    np.testing.assert_array_equal(pinv(tmp_path / "y.mkv"), pinv(frames))
    written = pinv(str(tmp_path / "y.mkv"), output=tmp_path / "x.mkv")
    assert written == tmp_path / "x.mkv"
    with VideoReader(written) as reader:
        assert reader.info.rate == 12
        np.testing.assert_array_equal(np.stack(list(reader)), pinv(frames))


def test_a_mask_is_this_call_s_own(clip):
    restorer = Restorer.from_pretrained("tiny", task="inpaint", solver="pinv")
    for seed in (1, 2):
        drawn = Inpainting().realise(clip.shape, torch.Generator().manual_seed(seed))
        mask = drawn.observed(clip.shape)[0, 0, 0]
        torch.testing.assert_close(restorer(drawn(clip), mask=mask), drawn(clip))
        torch.testing.assert_close(restorer(clip, mask=mask.numpy()), drawn(clip))
    with pytest.raises(UserError, match="needs the mask"):
        restorer(clip)


def test_settings_overrides_and_an_operator_of_one_s_own(clip):
    avis = Restorer.from_pretrained("tiny", task="deblur", solver="avis", K=1)
    assert avis.solver.K == 1
    weaker = Restorer.from_pretrained(
        "tiny", solver="pinv", overrides=["task.operator.sigma=1", "task.operator.size=7"]
    )
    assert weaker.operator(clip).sub(clip).abs().mean() < 0.1
    halved = Restorer.from_pretrained("tiny", solver="pinv", operator=Downsampling(2))
    assert halved(halved.operator(clip)).shape == clip.shape


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"model": "huge"},
            "model='huge' is not known; use one of small, tiny, wan14b, wan1_3b, wan2_2_5b",
        ),
        ({"task": "colour"}, "task='colour' is not known"),
        ({"solver": "pinv", "strength_of_ten": 1}, "has no key strength_of_ten"),
        ({"model": "tiny", "task": "denoise"}, "no lean student for task=denoise"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(arguments, message):
    with pytest.raises(UserError, match=re.escape(message)):
        Restorer.from_pretrained(**arguments)


def test_a_clip_of_another_form_is_refused(pinv, clip):
    with pytest.raises(UserError, match="is not a clip"):
        pinv(to_frames(clip).astype(np.float32))
    with pytest.raises(UserError, match="mask has no use"):
        pinv(clip, mask=torch.ones(64, 64))
    with pytest.raises(UserError, match="output is for"):
        pinv(clip, output="x.mp4")


def test_the_lines_of_the_readme_run(clip, tmp_path, monkeypatch):
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    blurred = Restorer.from_pretrained("tiny", solver="pinv").operator(clip)
    monkeypatch.chdir(tmp_path)
    with VideoWriter(tmp_path / "blurred.mp4", Fraction(25)) as writer:
        for frame in to_frames(blurred):
            writer.write(frame)
    shown: list[torch.Tensor] = []
    names = {"blurred": blurred, "camera": blurred.split(5, dim=2), "show": shown.append}
    exec(code, names)
    assert names["restored"].shape == clip.shape
    assert (tmp_path / "restored.mp4").is_file()
    torch.testing.assert_close(torch.cat(shown, dim=2), names["restored"])
