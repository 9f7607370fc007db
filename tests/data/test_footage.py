"""Footage: clips of a folder that depend on the seed and the step alone, held-out files, camera moves."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image

from lvis.cli.config import compose
from lvis.data import Footage, FootageDataModule
from lvis.data.camera import film
from lvis.data.footage import back_and_forth
from lvis.data.footage_files import find_footage, held_out_names, read_window
from lvis.data.motion import Motion
from lvis.data.video import VideoWriter
from lvis.errors import UserError

SIZE = (32, 48)


def write_video(path, frames, seed, size=(64, 80)):
    noise = np.random.default_rng(seed).integers(0, 256, (8, 10, 3), np.uint8)
    picture = cv2.resize(noise, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    with VideoWriter(path, Fraction(25), quality=5) as writer:
        for number in range(frames):
            writer.write(np.roll(picture, 2 * number, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("footage")
    (root / "clips").mkdir()
    (root / "eval_photos").mkdir()
    for number in range(6):
        write_video(root / "clips" / f"{'many' if number < 4 else 'few'}__{number}.mp4", 20, number)
    (root / "clips" / "many__0.txt").write_text("a caption\n")
    rng = np.random.default_rng(0)
    for number in range(4):
        noise = rng.integers(0, 256, (12, 16, 3), np.uint8)
        picture = cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC)
        Image.fromarray(picture).save(root / f"photo{number}.png")
    Image.fromarray(picture).save(root / "eval_photos" / "untouched.png")
    return root


def test_a_clip_depends_on_seed_and_step_and_not_on_what_is_in_memory(folder):
    kept, decoded = Footage(str(folder), SIZE, 9, 3), Footage(str(folder), SIZE, 9, 3, cache_mb=0)
    backwards = [kept[step]["video"] for step in reversed(range(12))][::-1]
    assert kept._kept and not decoded._kept
    for step, clip in enumerate(backwards):
        assert clip.shape == (3, 9, *SIZE) and clip.dtype == torch.float32
        assert clip.min() >= -1 and clip.max() <= 1
        assert torch.equal(clip, decoded[step]["video"])
    assert not torch.equal(backwards[0], backwards[1])
    assert not torch.equal(backwards[0], Footage(str(folder), SIZE, 9, 4)[0]["video"])


def test_native_crops_are_the_files_own_pixels_and_shrunk_ones_their_means(folder):
    plain = {"photographs": 0, "flip": 0, "held_out": 0}
    native = Footage(str(folder), SIZE, 5, native=1, **plain)
    file, clip = native.pixels(0)
    whole = np.stack(list(read_window(file.path, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(whole, (5, *SIZE, 3))
    assert (windows.reshape(-1, *clip.shape) == clip).all((1, 2, 3, 4)).any()
    shrunk = Footage(str(folder), SIZE, 5, native=0, max_shrink=1.6, **plain)
    file, clip = shrunk.pixels(1)
    assert not any(
        (clip[0] == window).all()
        for window in np.lib.stride_tricks.sliding_window_view(whole[0], (*SIZE, 3))[
            :, :, 0
        ].reshape(-1, *clip[0].shape)
    )


def test_files_are_drawn_by_source_with_the_root_of_their_number(folder):
    footage = Footage(str(folder), SIZE, 5, photographs=0.25, held_out=0)
    drawn = [footage.pixels(step)[0] for step in range(600)]
    assert 0.19 < np.mean([file.is_photograph for file in drawn]) < 0.31
    many = np.mean([file.source == "many" for file in drawn if not file.is_photograph])
    assert abs(many - 2 / (2 + 2**0.5)) < 0.07  # by file it would be 0.67, by source 0.5


def test_validation_takes_whole_files_out_of_training(folder):
    for by in ("hash", "source"):
        train = Footage(str(folder), SIZE, 5, held_out=0.3, hold_out=by)
        val = Footage(str(folder), SIZE, 5, held_out=0.3, hold_out=by, split="val")
        training = {file.name for file in train._mine}
        assert training and val._mine and not training & {file.name for file in val._mine}
        if by == "source":
            assert not {f.source for f in train._mine} & {f.source for f in val._mine}
        assert [val.pixels(n)[0].name for n in range(len(val._mine))] == [f.name for f in val._mine]
    files = find_footage(str(folder))
    fewer = files[:3] + files[4:]
    both = held_out_names(files, 0.5, "hash") - {files[3].name}
    assert both == held_out_names(fewer, 0.5, "hash")


def test_evaluation_folders_are_passed_over_and_captions_found(folder):
    names = {file.name for file in Footage(str(folder), SIZE, 5).files}
    assert len(names) == 10 and not any("eval" in name for name in names)
    assert {f.caption for f in find_footage(str(folder)) if f.name == "clips/many__0.mp4"} == {
        "a caption"
    }


def test_short_videos_are_played_back_and_forth_or_passed_over(folder):
    assert back_and_forth(7, 3).tolist() == [0, 1, 2, 1, 0, 1, 2]
    mirrored = Footage(str(folder), SIZE, 33, photographs=0, held_out=0)
    clip = mirrored[0]["video"]
    assert torch.equal(clip[:, 18], clip[:, 20]) and not torch.equal(clip[:, 18], clip[:, 19])
    with pytest.raises(UserError, match="the longest video has 20 frames"):
        Footage(str(folder), SIZE, 33, photographs=0, held_out=0, short="skip")
    with pytest.raises(UserError, match="the longest video has 20 frames"):
        Footage(str(folder), SIZE, 65, photographs=0, held_out=0)


def test_a_camera_that_moves_by_whole_pixels_copies_the_photograph():
    picture = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    steps = np.array([[0, 0], [-3, -1], [-6, -2]], float)
    still = np.zeros(3)
    rng = np.random.default_rng(0)
    # as large as the photograph but for the way itself, so that the place is known
    clip = film(rng, picture, Motion(steps, still, np.ones(3)), (38, 54))
    for number, frame in enumerate(clip):
        left, top = 3 * number, number
        assert np.array_equal(frame, picture[top : top + 38, left : left + 54])


def test_a_camera_stays_inside_the_photograph_and_does_not_alias():
    # stripes of one pixel: shrunk by 4, an average is grey everywhere and a bare sample is not
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[:, ::2] = 255
    far = Motion(np.outer(np.arange(9), [40.0, 10.0]), np.full(9, 0.05), np.linspace(1, 0.8, 9))
    clip = film(np.random.default_rng(0), picture, far, (32, 32), shrink=4)
    assert np.abs(clip.astype(int) - 127).max() < 24


def test_workers_and_resuming_change_nothing(folder):
    shape = {"size": SIZE, "frames": 5, "batch_size": 2}

    def take(count, step=0, **more):
        data = FootageDataModule(str(folder), **shape, **more)
        data.set_position(2 * step)
        batches = iter(data.train_dataloader())
        return [next(batches) for _ in range(count)]

    alone, helped, resumed = take(4, num_workers=0), take(4, num_workers=2), take(2, 2)
    for first, second in zip(alone + alone[2:], helped + resumed, strict=True):
        assert torch.equal(first["video"], second["video"])
        assert torch.equal(first["index"], second["index"]) and first["prompt"] == second["prompt"]


def test_the_group_makes_the_data_module(folder):
    cfg = compose(
        "train",
        [
            "data=footage",
            f"data.folder={folder}",
            "data.frames=5",
            "data.size=[32,48]",
            "data.val_clips=3",
        ],
    )
    data = instantiate(cfg.data)
    assert isinstance(data, FootageDataModule)
    batches = list(data.val_dataloader())
    assert len(batches) == 3 and batches[0]["video"].shape == (1, 3, 5, *SIZE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folder": None}, "data.folder is not set"),
        ({"folder": "nowhere"}, "is not a folder"),
        ({"size": (480, 832)}, "lower data.size"),
        ({"size": (8, 8)}, "data.size"),
        ({"photographs": 2}, "data.photographs"),
        ({"hold_out": "frame"}, "data.hold_out"),
        ({"held_out": 1.0}, "nothing to train on"),
        ({"short": "stretch"}, "data.short"),
    ],
)
def test_what_cannot_be_is_one_sentence(folder, change, message):
    with pytest.raises(UserError, match=message):
        Footage(**({"folder": str(folder), "size": SIZE, "frames": 5} | change))


def test_a_folder_with_nothing_readable_says_so(tmp_path):
    with pytest.raises(UserError, match="none found"):
        Footage(str(tmp_path))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match="1 unreadable"):
        Footage(str(tmp_path))
