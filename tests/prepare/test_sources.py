"""Which videos an input holds, by layout, and their captions."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lvis.errors import UserError
from lvis.prepare.sources import Source, find_sources, sample_of


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)


def found(place: Path, layout: str = "auto") -> dict[str, str]:
    return {source.name: source.caption for source in find_sources(str(place), layout)}


def test_a_folder_is_searched_through_with_captions_beside(tmp_path):
    touch(tmp_path, "b.mp4", "sub/a.webm", ".hidden/c.mp4", "notes.pdf")
    image(tmp_path / "frames" / "0.png")
    (tmp_path / "b.txt").write_text(" a dog \n")
    (tmp_path / "frames.txt").write_text("a cat")
    assert found(tmp_path) == {"b.mp4": "a dog", "sub/a.webm": "", "frames": "a cat"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", 'path,text\nv/a.mp4,a dog\nv/b.mp4,"a cat, a mat"\n'),
        ("list.csv", '\ufeffvideo,cap\nv/a.mp4,a dog\nv/b.mp4,"a cat, a mat"\n'),
        ("list.txt", "v/a.mp4\ta dog\n\nv/b.mp4\ta cat, a mat\n"),
        (
            "list.jsonl",
            '{"path": "v/a.mp4", "caption": "a dog"}\n{"path": "v/b.mp4", "cap": "a cat, a mat"}\n',
        ),
        (
            "list.json",
            json.dumps(
                [
                    {"path": "v/a.mp4", "cap": ["a dog", "another"]},
                    {"path": "v/b.mp4", "cap": ["a cat, a mat"]},
                ]
            ),
        ),
    ],
)
def test_lists_of_every_kind_name_the_same_videos(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    touch(tmp_path, "v/a.mp4", "v/b.mp4", "v/unlisted.mp4")
    expected = {"v/a.mp4": "a dog", "v/b.mp4": "a cat, a mat"}
    assert found(tmp_path / name) == expected
    if name != "list.txt":
        assert found(tmp_path) == found(tmp_path, "mixkit") == expected


def test_reds_gives_the_sharp_sequences_only(tmp_path):
    for kind in ("train_sharp", "train_blur", "train_sharp_bicubic/X4"):
        image(tmp_path / "train" / kind / "000" / "00000000.png")
    assert list(found(tmp_path)) == ["train/train_sharp/000"]
    assert list(found(tmp_path / "train" / "train_sharp", "reds")) == ["000"]


def test_davis_gives_its_images_once_and_no_masks(tmp_path):
    for kind in ("JPEGImages/480p", "JPEGImages/Full-Resolution", "Annotations/480p"):
        image(tmp_path / kind / "bear" / "00000.png")
    assert list(found(tmp_path)) == ["JPEGImages/Full-Resolution/bear"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("list.csv", "url,text\nx,y\n", "entry 1 has no path"),
        ("list.jsonl", "{broken", "not valid jsonl"),
        ("list.txt", "", "has no videos"),
        ("list.xml", "", "give a folder of videos or a list"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words):
        found(tmp_path / name)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="has no videos"):
        found(tmp_path)


def test_a_sample_follows_from_names_and_seed_and_a_larger_one_contains_it():
    sources = [Source(f"{number:03d}.mp4", Path(f"{number}")) for number in range(200)]
    small, large, other = (
        {source.name for source in sample_of(sources, count, seed)}
        for count, seed in ((20, 0), (50, 0), (20, 1))
    )
    assert len(small) == 20 and small < large and other != small
    assert sample_of(list(reversed(sources)), 20, 0) == sample_of(sources, 20, 0)
    assert sample_of(sources, None, 0) is sources and len(sample_of(sources, 300, 0)) == 200
