"""Sample clips: reproducible, in motion, held out from training."""

from fractions import Fraction

import numpy as np
import pytest

from lvis.data.samples import SampleClip, camera_move, synthetic
from lvis.data.video import open_source
from lvis.errors import UserError


def test_clips_are_the_same_for_the_same_seed_and_move(tmp_path):
    def frames(clip: SampleClip) -> np.ndarray:
        with open_source(str(clip.path)) as source:
            return np.stack(list(source))

    shape = (5, (32, 48), Fraction(16))
    for make in (
        lambda folder: synthetic(folder, 0, 1, *shape),
        lambda folder: camera_move(folder, "coffee.png", *shape),
    ):
        first, second = frames(make(tmp_path / "a")), frames(make(tmp_path / "b"))
        assert first.shape == (5, 32, 48, 3)
        assert np.array_equal(first, second)
        assert not np.array_equal(first[0], first[-1])


def test_a_photograph_of_the_training_is_refused(tmp_path):
    with pytest.raises(UserError, match="astronaut.png is not held out"):
        camera_move(tmp_path, "astronaut.png", 5, (32, 32), Fraction(16))
