"""Where clips lie and which frames they take."""

from fractions import Fraction

import numpy as np
import pytest

from lvis.prepare.cutting import Scene, clip_starts, fitted, nearest_pictures, scenes_of
from lvis.prepare.scenes import CutDetector


class Numbered:
    """A frame that is told by its number."""

    def __init__(self, number: int, seconds: float, level: int = 0) -> None:
        self.number, self.seconds, self.level = number, seconds, level

    def rgb(self) -> np.ndarray:
        raise AssertionError("nothing is converted here")

    def thumbnail(self) -> np.ndarray:
        return np.full((36, 64, 3), self.level, np.uint8)


def film(count: int, fps: float) -> list[Numbered]:
    return [Numbered(number, number / fps) for number in range(count)]


def taken(count: int, source_fps: float, starts: list[float], frames: int, fps: int) -> dict:
    clips: dict[int, list[int]] = {}
    for clip, picture in nearest_pictures(film(count, source_fps), starts, frames, Fraction(fps)):
        clips.setdefault(clip, []).append(picture.number)
    return clips


def test_the_same_rate_takes_every_frame():
    assert taken(12, 25, [0.0, 0.2], 5, 25) == {0: [0, 1, 2, 3, 4], 1: [5, 6, 7, 8, 9]}


def test_half_the_rate_takes_every_other_frame_and_twice_the_rate_each_twice():
    assert taken(12, 24, [0.0], 5, 12) == {0: [0, 2, 4, 6, 8]}
    assert taken(12, 12, [0.0], 5, 24) == {0: [0, 0, 1, 1, 2]}


def test_overlapping_clips_share_frames():
    assert taken(9, 8, [0.0, 0.25], 5, 8) == {0: [0, 1, 2, 3, 4], 1: [2, 3, 4, 5, 6]}


@pytest.mark.parametrize("source_fps", [23.976, 25, 29.97, 59.94])
def test_no_other_frame_is_nearer(source_fps):
    times = np.arange(200) / source_fps
    (numbers,) = taken(200, source_fps, [0.5], 17, 16).values()
    targets = 0.5 + np.arange(17) / 16
    chosen = np.abs(times[numbers] - targets)
    assert np.allclose(chosen, np.abs(times[:, None] - targets).min(axis=0), atol=1e-9)


def test_no_frame_is_decoded_beyond_the_last_that_is_needed():
    read = []
    frames = (read.append(picture.number) or picture for picture in film(100, 25))
    list(nearest_pictures(frames, [0.0], 5, Fraction(25)))
    assert max(read) == 5


def test_clips_lie_within_scenes_and_as_many_as_fit():
    scenes = [Scene(0.0, 0.9), Scene(1.0, 1.3), Scene(2.0, 3.0)]
    starts = clip_starts(scenes, 5, Fraction(10), 5, None)
    assert starts == pytest.approx([0.0, 0.5, 2.0, 2.5])
    assert clip_starts(scenes, 5, Fraction(10), 1, None)[:6] == pytest.approx(
        [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    )


def test_few_clips_of_many_are_spread_over_the_source():
    assert clip_starts([Scene(0.0, 9.9)], 5, Fraction(10), 5, 4) == pytest.approx([0, 2.5, 5, 7.5])


def test_a_scene_cut_is_found_where_it_is_and_motion_is_none():
    levels = [10, 14, 18, 22, 200, 204, 208, 60, 64]
    pictures = [Numbered(n, n / 10, level) for n, level in enumerate(levels)]
    assert scenes_of(pictures, CutDetector(0.08)) == [
        Scene(0.0, 0.3),
        Scene(0.4, 0.6),
        Scene(0.7, 0.8),
    ]
    assert scenes_of(pictures, None) == [Scene(0.0, 0.8)]
    # every frame as different from the one before: a fast camera, not ten cuts
    fast = [Numbered(n, n / 10, 120 if n % 2 else 180) for n in range(10)]
    assert len(scenes_of(fast, CutDetector(0.08))) <= 2


def test_a_frame_of_the_right_size_is_untouched():
    frame = np.random.default_rng(0).integers(0, 256, (32, 48, 3)).astype(np.uint8)
    assert np.array_equal(fitted(frame, (32, 48)), frame)


def test_scaling_keeps_the_aspect_and_cuts_about_the_centre():
    rows, columns = np.mgrid[:64, :128]
    disk = (rows - 31.5) ** 2 + (columns - 63.5) ** 2 < 16**2
    frame = np.repeat(disk[..., None] * np.uint8(255), 3, axis=-1)
    small = fitted(frame, (32, 32))[..., 0].astype(float) / 255
    weights = small.sum()
    middle = np.arange(32) - 15.5
    spread = [(small.sum(axis=axis) * middle**2).sum() / weights for axis in (0, 1)]
    # a disk of radius 8: its second moment is r^2 / 4 along both axes
    assert spread == pytest.approx([16, 16], rel=0.03)
    assert (small.sum(axis=0) * middle).sum() / weights == pytest.approx(0, abs=0.05)


def test_pixels_that_are_not_square_are_made_so():
    rows, columns = np.mgrid[:64, :64]
    ellipse = (rows - 31.5) ** 2 + (2 * (columns - 31.5)) ** 2 < 24**2
    frame = np.repeat(ellipse[..., None] * np.uint8(255), 3, axis=-1)
    shown = fitted(frame, (32, 32), Fraction(2))[..., 0].astype(float)
    across, down = (shown > 127).any(axis=0).sum(), (shown > 127).any(axis=1).sum()
    assert abs(int(across) - int(down)) <= 1
