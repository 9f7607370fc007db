import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from lvis.cli.config import compose
from lvis.errors import UserError
from lvis.evaluate.clips import list_clips
from lvis.evaluate.codec import write_clip
from lvis.evaluate.command import evaluate
from lvis.evaluate.methods import scores, solve
from lvis.operators import GaussianBlur
from lvis.solvers.pinv import PinvSolver


def named_clips(*source, seed):
    return [(clip.name, clip.load()) for clip in list_clips(*source, seed)]


def test_synthetic_clips_are_the_held_out_ones_and_the_same_each_time():
    first, again = (named_clips("synthetic", 2, 5, (32, 32), seed=0) for _ in range(2))
    assert [name for name, _ in first] == ["synthetic-0", "synthetic-1"]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(first, again, strict=True))


def test_a_folder_is_cropped_and_a_short_one_refused(tmp_path):
    for index in range(4):
        Image.fromarray(np.full((40, 60, 3), 10 * index, np.uint8)).save(tmp_path / f"{index}.png")
    [(name, clip)] = named_clips([str(tmp_path)], 1, 3, (32, 32), seed=0)
    assert name == tmp_path.name
    assert clip.shape == (1, 3, 3, 32, 32)
    with pytest.raises(UserError, match="clips.frames=5"):
        named_clips([str(tmp_path)], 1, 5, (32, 32), seed=0)


def test_a_solver_is_run_through_its_stream():
    video = torch.rand(1, 3, 10, 32, 32) * 2 - 1
    operator = GaussianBlur(size=9, sigma=0.6)
    restored = solve(PinvSolver(), operator, operator(video), (32, 32), seed=0)
    assert restored.video.shape == video.shape
    assert restored.seconds > 0 and restored.time_to_first_frame > 0
    assert scores(restored.video, video)["psnr"] > scores(operator(video), video)["psnr"]


def write_video(path, frames: int = 4, value: float = 0.0) -> None:
    write_clip(path, torch.full((1, 3, frames, 32, 32), value), quality=0)


def test_a_folder_of_videos_and_a_shard_give_a_clip_each_in_natural_order(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, value in (("clip10", 1.0), ("clip2", -1.0)):
        write_video(folder / f"{name}.mp4", value=value)
    (folder / "notes.txt").write_text("no video")
    found = named_clips(str(folder), None, 3, (32, 32), seed=0)
    assert [name for name, _ in found] == ["clip2", "clip10"]
    assert found[0][1].mean() < -0.9 and found[1][1].mean() > 0.9

    shard = tmp_path / "part.tar"
    with tarfile.open(shard, "w") as archive:
        archive.add(folder / "clip10.mp4", "../../escape.mp4")
        archive.add(folder / "notes.txt", "notes.txt")
    [(name, clip)] = named_clips([str(shard)], None, 3, (32, 32), seed=0)
    assert name == "escape" and torch.equal(clip, found[1][1])
    assert not (tmp_path.parent.parent / "escape.mp4").exists()


def test_clips_are_cut_to_the_count_and_none_is_read_before_its_turn(tmp_path):
    write_video(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"no video at all")
    clips = list_clips(str(tmp_path), 1, 3, (32, 32), seed=0)
    assert [clip.name for clip in clips] == ["a"]
    first, second = list_clips(str(tmp_path), None, 3, (32, 32), seed=0)
    assert first.load().shape == (1, 3, 3, 32, 32)
    with pytest.raises(UserError, match="b.mp4"):
        second.load()


def test_two_clips_of_one_name_and_an_empty_shard_are_refused(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_video(tmp_path / name / "same.mp4")
    with pytest.raises(UserError, match="two clips are called same"):
        list_clips([str(tmp_path / "one"), str(tmp_path / "two")], None, 3, (32, 32), seed=0)
    tarfile.open(tmp_path / "empty.tar", "w").close()
    with pytest.raises(UserError, match="no videos"):
        list_clips([str(tmp_path / "empty.tar")], None, 3, (32, 32), seed=0)


def test_fewer_clips_than_asked_for_is_one_sentence(tmp_path):
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4")
    assert len(list_clips(str(tmp_path), 2, 3, (32, 32), seed=0)) == 2
    with pytest.raises(UserError, match="clips.count=3: clips.source has 2"):
        list_clips(str(tmp_path), 3, 3, (32, 32), seed=0)


def reds(folder, sequences: int, frames: int = 4):
    """The dataset's layout: sharp and blurred sequences of the same scenes, in three splits."""
    for split, kind in (("val", "val_sharp"), ("val", "val_blur"), ("train", "train_sharp")):
        for number in range(sequences):
            place = folder / split / kind / f"{number:03d}"
            place.mkdir(parents=True)
            value = 200 if kind == "val_sharp" else 20
            for frame in range(frames):
                Image.fromarray(np.full((72, 128, 3), value, np.uint8)).save(
                    place / f"{frame:08d}.png"
                )


def test_of_reds_the_sharp_validation_sequences_are_the_clips(tmp_path):
    reds(tmp_path, 3)
    for source in (tmp_path, tmp_path / "val", tmp_path / "val" / "val_sharp"):
        found = list(named_clips(str(source), 3, 4, (32, 48), seed=0))
        assert [name for name, _ in found] == ["000", "001", "002"]
        assert all(clip.shape == (1, 3, 4, 32, 48) and clip.min() > 0.5 for _, clip in found)
    with pytest.raises(UserError, match="clips.count=30: clips.source has 3"):
        list_clips(str(tmp_path), 30, 4, (32, 48), seed=0)


@pytest.mark.parametrize(("name", "count"), [("reds30", 30), ("open_sora", None)])
def test_the_papers_clips_are_presets(name, count):
    overrides = [f"clips={name}", "clips.source=here", "protocol=instantvir", "model=wan1_3b"]
    cfg = compose("evaluate", overrides)
    assert (cfg.clips.count, cfg.clips.frames, list(cfg.clips.size)) == (count, 81, [480, 832])
    assert cfg.protocol.name == "instantvir"


def test_a_preset_without_its_dataset_is_one_sentence(tmp_path):
    words = ["clips=reds30", "task=deblur", "solver=pinv", f"output={tmp_path}"]
    cfg = compose("evaluate", words)
    with pytest.raises(UserError, match="clips.source"):
        evaluate(cfg)
