"""Paths reach the program as the shell hands them over."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from lvis.cli.literal_paths import literal

NAMES = [
    "2023_12_24", "2024_01_15.mp4", "1e5", "3.50", "true", "0x10", "été.mp4", "映画.mkv", "🎬.mp4",
    "clip (1).mp4", "[1080p] clip.mp4", "[1080p]", "a & b!.mp4", "#1.mp4", "it's.mp4", "12:30.mp4",
    "a=b.mp4", "a,b.mp4", " edge ", "C:\\clips\\new.mp4", "ends in\\", "odd\\'name", '"half.mp4', "$HOME.mp4",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_what_was_typed(name):
    (argument,) = literal([f"input={name}"])
    (override,) = OverridesParser.create().parse_overrides([argument])
    assert override.value() == name


def test_what_means_something_to_hydra_still_does():
    kept = ["input=null", "input='a b'", "input=${mask}", "task=deblur", "raw.size=[4,8]", "-m"]
    assert literal(kept[:-1]) == kept[:-1]
    assert literal(["input=a.mp4,b.mp4", "-m"]) == ["input=a.mp4,b.mp4", "-m"]
