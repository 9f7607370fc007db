import numpy as np
import pytest
import torch
from PIL import Image

from lvis.errors import UserError
from lvis.evaluation.clips import named_clips
from lvis.evaluation.methods import scores, solve
from lvis.operators import GaussianBlur
from lvis.solvers.pinv import PinvSolver


def test_synthetic_clips_are_the_held_out_ones_and_the_same_each_time():
    first, again = (list(named_clips("synthetic", 2, 5, (32, 32), seed=0)) for _ in range(2))
    assert [name for name, _ in first] == ["synthetic-0", "synthetic-1"]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(first, again, strict=True))


def test_a_folder_is_cropped_and_a_short_one_refused(tmp_path):
    for index in range(4):
        Image.fromarray(np.full((40, 60, 3), 10 * index, np.uint8)).save(tmp_path / f"{index}.png")
    [(name, clip)] = named_clips([str(tmp_path)], 1, 3, (32, 32), seed=0)
    assert name == tmp_path.name
    assert clip.shape == (1, 3, 3, 32, 32)
    with pytest.raises(UserError, match="clips.frames=5"):
        list(named_clips([str(tmp_path)], 1, 5, (32, 32), seed=0))


def test_a_solver_is_run_through_its_stream():
    video = torch.rand(1, 3, 10, 32, 32) * 2 - 1
    operator = GaussianBlur(size=9, sigma=0.6)
    restored = solve(PinvSolver(), operator, operator(video), (32, 32), seed=0)
    assert restored.video.shape == video.shape
    assert restored.time_to_first_frame <= restored.seconds + 1
    assert scores(restored.video, video)["psnr"] > scores(operator(video), video)["psnr"]
