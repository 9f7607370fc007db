"""Folders of pictures as people have them: the right order, and what is odd is said before the run."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lvis.data.frames import FolderReader
from lvis.data.numbering import ordered


def fill(folder: Path, *names: str) -> FolderReader:
    for place, name in enumerate(names):
        Image.fromarray(np.full((6, 8, 3), place, np.uint8)).save(folder / name, lossless=True)
    return FolderReader(folder)


def order(reader: FolderReader) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in reader]


@pytest.mark.parametrize(
    "names",
    [
        ["f1.png", "f2.png", "f3.png"],
        ["f0.png", "f5.png", "f10.png"],  # every fifth
        ["shot-8.png", "shot-9.png", "shot-10.png"],  # a hyphen, no minus
        ["a7.png"],
        ["cover.png"],
    ],
)
def test_an_ordinary_folder_says_nothing(tmp_path, names):
    reader = fill(tmp_path, *names)
    assert order(reader) == list(range(len(names)))
    assert reader.notes == []


def test_gaps_are_said(tmp_path):
    reader = fill(tmp_path, "f1.png", "f2.png", "f4.png", "f5.png", "f9.png")
    assert order(reader) == [0, 1, 2, 3, 4]
    assert reader.notes == [
        "numbers are missing after 2, 5: the pictures follow one another without a pause"
    ]


def test_doubled_numbers_are_said_and_have_one_order(tmp_path):
    reader = fill(tmp_path, "f1.bmp", "f01.png", "f1.png", "f2.png")
    assert order(reader) == [0, 1, 2, 3]
    assert reader.notes == [
        "f1.bmp, f01.png, f1.png have numbers in common: each of them is a frame, in this order"
    ]


def test_negative_numbers_come_before_zero_and_are_said(tmp_path):
    names = ["-10.png", "-2.png", "-1.png", "0.png", "1.png", "10.png"]
    reader = fill(tmp_path, *names)
    assert order(reader) == list(range(6))
    assert "3 of its pictures have negative numbers" in reader.notes[0]
    assert ordered(["t1.png", "t-1.png", "t0.png", "t-3.png"]) == [
        "t-3.png", "t-1.png", "t0.png", "t1.png",
    ]  # fmt: skip


def test_other_files_are_said_and_those_of_the_system_are_not(tmp_path):
    for name in ("f2.exr", "f3.dng", "notes.txt", "Thumbs.db", ".hidden"):
        (tmp_path / name).write_text("")
    (tmp_path / "more").mkdir()
    reader = fill(tmp_path, "f1.png")
    assert reader.notes == ["4 other entries in it are skipped: f2.exr, f3.dng, more/, ..."]


def test_only_the_first_page_is_a_frame_and_that_is_said(tmp_path):
    pages = [Image.fromarray(np.full((6, 8, 3), level, np.uint8)) for level in (7, 8, 9)]
    pages[0].save(tmp_path / "f1.tif", save_all=True, append_images=pages[1:])
    reader = FolderReader(tmp_path)
    assert order(reader) == [7]
    assert reader.notes == ["f1.tif holds 3 pictures: the first one is its frame"]


@pytest.mark.parametrize("opacity, said", [(100, True), (255, False)])
def test_alpha_is_said_once_where_it_hides_something(tmp_path, opacity, said):
    for number in range(2):
        Image.fromarray(np.full((6, 8, 4), opacity, np.uint8)).save(tmp_path / f"f{number}.png")
    reader = FolderReader(tmp_path)
    list(reader)
    assert len(reader.notes) == said
    if said:
        assert "have an alpha channel, which is ignored" in reader.notes[0]
