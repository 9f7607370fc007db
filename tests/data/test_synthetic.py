"""Synthetic clips: reproducible, any size, smooth, with captions that the pixels bear out."""

import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch

from lvis.data import SyntheticVideos, synthetic_clip
from lvis.data.foreground import COLOURS, DIRECTIONS, FORMS, SIZES, draw_foreground
from lvis.data.layers import photograph_backdrop
from lvis.data.motion import draw_motion
from lvis.data.photographs import PHOTOGRAPHS
from lvis.data.synthetic import OPPOSITE, draw_drift
from lvis.errors import UserError

SIZE = (64, 64)
# x to the right, y down, independent of the table under test
COURSES = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "still": (0, 0)}


def captioned_clips(frames: int, count: int) -> list:
    clips = (synthetic_clip(5, index, frames, SIZE) for index in range(10**6))
    return [clip for clip, _ in zip((c for c in clips if c.foreground), range(count), strict=False)]


def test_same_number_gives_the_same_clip_whatever_came_before():
    first = synthetic_clip(3, 41, 5, SIZE)
    synthetic_clip(3, 42, 5, SIZE)
    np.random.seed(0)
    torch.manual_seed(1)
    again = synthetic_clip(3, 41, 5, SIZE)
    assert torch.equal(first.video, again.video) and first.caption == again.caption


def fingerprints(numbers: tuple[int, ...]) -> list[str]:
    clips = [synthetic_clip(3, number, 3, SIZE).video.numpy() for number in numbers]
    return [hashlib.sha256(clip.tobytes()).hexdigest() for clip in clips]


def test_same_number_gives_the_same_clip_in_a_fresh_process():
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        elsewhere = pool.submit(fingerprints, (2, 0, 1)).result()
    assert elsewhere == [fingerprints((number,))[0] for number in (2, 0, 1)]
    assert len(set(elsewhere)) == 3


def test_seed_and_number_and_split_each_change_the_clip():
    clips = [
        synthetic_clip(*arguments).video
        for arguments in (
            (0, 0, 2, SIZE, "train"),
            (1, 0, 2, SIZE, "train"),
            (0, 1, 2, SIZE, "train"),
            (0, 0, 2, SIZE, "val"),
        )
    ]
    for i, first in enumerate(clips):
        for second in clips[i + 1 :]:
            assert (first - second).abs().mean() > 0.05


def test_splits_share_no_photograph():
    assert not set(PHOTOGRAPHS["train"]) & set(PHOTOGRAPHS["val"])


@pytest.mark.parametrize(
    ("frames", "size"), [(9, (48, 80)), (1, (16, 16)), (2, (33, 97)), (1, (480, 832))]
)
def test_any_size(frames, size):
    for index in range(6 if max(size) < 100 else 2):
        clip = synthetic_clip(0, index, frames, size)
        assert clip.video.shape == (3, frames, *size)
        assert clip.video.dtype == torch.float32
        assert clip.video.min() >= -1 and clip.video.max() <= 1
        assert clip.video.std() > 0.02


def test_clips_use_the_whole_range_and_are_quantised_to_8_bits():
    levels = torch.cat([synthetic_clip(0, i, 2, SIZE).video.flatten() for i in range(12)])
    levels = (levels + 1) * 127.5
    assert (levels - levels.round()).abs().max() < 1e-4
    assert levels.min() < 10 and levels.max() > 245


def test_motion_is_smooth_and_present():
    moving = 0
    for index in range(24):
        video = synthetic_clip(9, index, 9, SIZE).video
        steps = (video[:, 1:] - video[:, :-1]).abs().mean(dim=(0, 2, 3))
        # an unrelated picture would differ by about the contrast; shuffled frames by their distance
        unrelated = (video - video.flip(3)).abs().mean()
        assert steps.max() < 1.2 * unrelated + 0.02
        # no jump: the largest change of a step is near the typical one
        assert steps.max() < 3 * steps.median() + 0.01
        moving += bool(steps.median() > 1e-3)
    assert moving >= 20


def test_neighbours_in_time_are_closer_than_distant_frames():
    near, far = 0.0, 0.0
    for index in range(16):
        video = synthetic_clip(2, index, 17, SIZE).video
        near += float((video[:, 8] - video[:, 9]).abs().mean())
        far += float((video[:, 0] - video[:, 16]).abs().mean())
    assert near < 0.6 * far


def test_three_of_five_clips_have_an_object_and_its_words_are_in_the_caption():
    clips = [synthetic_clip(1, index, 2, (16, 16)) for index in range(150)]
    with_object = [clip for clip in clips if clip.foreground]
    assert 0.45 < len(with_object) / len(clips) < 0.75
    for clip in with_object:
        words = clip.caption
        assert words == clip.foreground.caption
        assert any(f" {colour} {form} " in words for colour in COLOURS for form in FORMS)
        assert sum(words.endswith(phrase) for phrase in DIRECTIONS) == 1
        assert words.split()[0] == ("an" if words.split()[1][0] in "aeiou" else "a")


def where_it_is(video: torch.Tensor, colour: np.ndarray) -> tuple[np.ndarray, float]:
    """Centroid (x, y) and area in pixels of what has the object's colour in a frame (3, H, W)."""
    picture = (video.numpy() + 1) * 127.5
    tint = colour.astype(np.float64)
    light = np.tensordot(tint, picture, 1) / (tint @ tint)
    residual = np.linalg.norm(picture - light * tint[:, None, None], axis=0)
    mask = (residual < 4) & (light > 0.88) & (light < 1.02)
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()]), float(mask.sum())


def test_captioned_direction_is_what_the_pixels_do():
    seen = set()
    for clip in captioned_clips(frames=25, count=40):
        thing = clip.foreground
        if {"white", "black"} & set(clip.caption.split()):
            continue  # backgrounds hold these colours too
        inside = (thing.centre > thing.radius) & (thing.centre < np.array(SIZE) - thing.radius)
        whole = np.nonzero(inside.all(1))[0]
        if len(whole) < 8:
            continue  # partly outside the picture: its visible centroid moves otherwise
        first, last = whole[0], whole[-1]
        start, area = where_it_is(clip.video[:, first], thing.colour)
        end, _ = where_it_is(clip.video[:, last], thing.colour)
        assert area > 10
        course = (end - start) / (last - first)
        direction = np.array(COURSES[clip.caption.split()[-1]])
        if direction.any():
            assert course @ direction > 0.3, clip.caption
            assert np.abs(course * (direction == 0)).max() < 0.5 * (course @ direction), (
                clip.caption
            )
        else:
            assert np.abs(course).max() < 0.05, clip.caption
        seen.add(tuple(direction))
    assert len(seen) >= 4


def test_captioned_size_and_form_are_true():
    radii: dict[str, list[float]] = {word: [] for word in SIZES}
    rng = np.random.default_rng(0)
    for _ in range(200):
        thing = draw_foreground(rng, 9, SIZE)
        word = next((w for w in ("small", "large") if f" {w} " in thing.caption), "")
        radii[word].append(thing.radius)
        picture = np.full((*SIZE, 3), -1000.0, np.float32)
        thing.paint(picture, 4)
        share = (picture[..., 1] > -500).sum() / thing.radius**2
        expected = {
            "disk": np.pi,
            "square": 2.0,
            "triangle": 3 * np.sqrt(3) / 4,
            "ring": np.pi * (1 - 0.55**2),
        }
        assert share == pytest.approx(expected[thing.form], rel=0.2), thing.caption
    assert max(radii["small"]) < min(radii[""]) <= max(radii[""]) < min(radii["large"])


def shift_between(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    """How far (x, y) the content moved from one grey picture to the next, by phase correlation."""
    window = np.outer(np.hanning(first.shape[0]), np.hanning(first.shape[1]))
    spectra = [np.fft.fft2((p - p.mean()).numpy() * window) for p in (first, second)]
    cross = spectra[1] * spectra[0].conj()
    peak = np.fft.ifft2(cross / np.maximum(np.abs(cross), 1e-9)).real
    row, column = np.unravel_index(peak.argmax(), peak.shape)
    height, width = peak.shape
    return np.array(
        [(column + width // 2) % width - width // 2, (row + height // 2) % height - height // 2]
    )


def test_captioned_camera_pans_against_the_content():
    against = {"left": (1, 0), "right": (-1, 0), "up": (0, 1), "down": (0, -1)}
    right_way = []
    for index in range(150):
        rng = np.random.default_rng(index)
        drift, word = draw_drift(rng, (96, 96))
        if not word or np.abs(drift).max() < 0.5:
            continue
        motion = draw_motion(rng, 6, drift)
        backdrop = photograph_backdrop(rng, (96, 96), motion, "train")
        first, last = np.empty((2, 96, 96, 3), np.float32)
        backdrop.paint(first, 0)
        backdrop.paint(last, 5)
        shift = shift_between(torch.from_numpy(first).mean(2), torch.from_numpy(last).mean(2))
        pan = OPPOSITE[word]
        right_way.append(bool(shift @ np.array(against[pan]) > 0.7 * np.linalg.norm(shift) > 0))
    assert len(right_way) > 20 and np.mean(right_way) > 0.9
    captions = {synthetic_clip(4, index, 1, (16, 16)).caption for index in range(100)}
    assert any(caption.startswith("the camera pans") for caption in captions)


def test_dataset_is_endless_and_numbers_its_items():
    videos = SyntheticVideos(seed=0, frames=1, size=(16, 16))
    assert len(videos) > 10**12
    item = videos[10**12]
    assert item["index"] == 10**12 and item["video"].shape == (3, 1, 16, 16)
    assert isinstance(item["prompt"], str)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"frames": 0}, "frames is 0"),
        ({"size": (8, 64)}, "size is"),
        ({"split": "test"}, "split is 'test'"),
        ({"seed": -1}, "seed"),
        ({"index": -1}, "index"),
    ],
)
def test_impossible_requests_say_what_is_wrong(change, name):
    arguments = {"seed": 0, "index": 0, "frames": 1, "size": SIZE, "split": "train"} | change
    with pytest.raises(UserError, match=name):
        synthetic_clip(**arguments)
