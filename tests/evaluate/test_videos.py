import numpy as np
import pytest
import torch

from lvis.data.video import open_source
from lvis.evaluate.videos import save_videos, video_path


def test_videos_lie_where_the_report_looks_and_hold_what_was_given(tmp_path):
    row = {"label": "t0=0.2/K=1", "task": "inpaint", "vae": "wan", "clip": "a b#c"}
    ramp = torch.linspace(-1, 1, 5).reshape(1, 1, 5, 1, 1).expand(1, 3, 5, 32, 48)
    save_videos(tmp_path, row, {"D(E(y))": ramp, "clean": -ramp})
    path = video_path(tmp_path, row, "D(E(y))")
    assert path.name == "t0=0.2-K=1_inpaint_wan_a-b-c_D(E(y)).mp4"
    assert path.parent == tmp_path / "videos"
    with open_source(str(path)) as reader:
        levels = np.stack(list(reader)).mean(axis=(1, 2, 3))
    assert levels.round() == pytest.approx([0, 64, 128, 191, 255], abs=3)
