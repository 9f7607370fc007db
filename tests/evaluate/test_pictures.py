"""The grid: a column a video, its middle frame over its middle row of pixels through time."""

import numpy as np
import torch
from PIL import Image

from lvis.evaluate.pictures import SMALLEST_XT, save_grid, still, xt_picture

FRAMES, SIDE = 17, 32


def stripe() -> torch.Tensor:
    """A white column on black that moves a pixel a frame: in x-t a slanted line."""
    video = torch.full((1, 3, FRAMES, SIDE, SIDE), -1.0)
    for t in range(FRAMES):
        video[:, :, t, :, t] = 1
    return video


def test_the_slice_draws_motion_as_a_slanted_line():
    picture = xt_picture(stripe())
    repeats = len(picture) // FRAMES
    assert len(picture) >= SMALLEST_XT and picture.shape[1:] == (SIDE, 3)
    for t in range(FRAMES):
        rows = picture[t * repeats : (t + 1) * repeats]
        assert (rows[:, t] == 255).all() and (rows.sum(axis=(1, 2)) == 3 * 255).all()


def test_every_column_has_the_frame_over_its_slice(tmp_path):
    videos = {"one": stripe(), "other": stripe().flip(4), "grey": torch.zeros_like(stripe())}
    save_grid(tmp_path / "grid.png", videos)
    board = np.asarray(Image.open(tmp_path / "grid.png"))
    strip = 14  # the captions'
    height = SIDE + 4 + len(xt_picture(stripe()))
    assert board.shape[0] - strip - height in (0, 1)
    for place, video in enumerate(videos.values()):
        column = board[strip:, place * (SIDE + 4) :][:, :SIDE]
        assert np.array_equal(column[:SIDE], still(video))
        assert np.array_equal(column[SIDE + 4 : height], xt_picture(video))
