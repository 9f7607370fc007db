"""README.md and docs/ are true: the tree's paths exist, commands compose, links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from lvis.cli.config import compose
from lvis.cli.literal_paths import literal

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def tree_paths() -> list[str]:
    """The paths named in the section "The tree", from their names and indentations."""
    section = ARCHITECTURE.split("## The tree\n")[1].split("\n## ")[0]
    paths, parents = [], []
    for line in section.splitlines():
        found = re.match(r"( {4,})(\S+)", line)
        if found:
            depth = (len(found[1]) - 4) // 2
            parents = [*parents[:depth], found[2].rstrip("/")]
            paths.append("/".join(parents))
    return paths


def commands(text: str) -> list[tuple[str, list[str]]]:
    """(entry point, overrides) of every `python -m lvis.X ...` in an indented line or in backticks."""
    blocks = [line for line in text.replace("\\\n", " ").splitlines() if line.startswith("    ")]
    inline = re.findall(r"`(python -m lvis\.[^`]*)`", text)
    found = []
    for line in [*blocks, *inline]:
        for piece in line.split(" | "):
            if "python -m lvis." not in piece:
                continue
            words = shlex.split(piece, comments=True)
            place = words.index("-m")
            overrides = [word for word in words[place + 2 :] if word not in ("...", "--help")]
            found.append((words[place + 1].removeprefix("lvis."), overrides))
    return found


def without_sweep(overrides: list[str]) -> list[list[str]]:
    """With `-m`, every value of a sweep on its own; otherwise the overrides as they are."""
    if "-m" not in overrides:
        return [overrides]
    pairs = [word.split("=", 1) for word in overrides if word != "-m"]
    longest = max(len(value.split(",")) for _, value in pairs)
    return [
        [f"{key}={(value.split(',') * longest)[place]}" for key, value in pairs]
        for place in range(longest)
    ]


@pytest.mark.parametrize("path", tree_paths())
def test_every_path_of_the_tree_exists(path):
    assert (ROOT / path).exists()


def test_every_folder_of_the_package_is_in_the_tree():
    folders = {path.parent.name for path in (ROOT / "lvis").glob("*/__init__.py")}
    assert {f"lvis/{folder}" for folder in folders} <= set(tree_paths())


@pytest.mark.parametrize(
    "entry, overrides", commands(README + PAGES), ids=lambda value: str(value)[:60]
)
def test_every_command_composes(entry, overrides):
    assert (ROOT / "lvis" / entry / "__main__.py").exists()
    for one in without_sweep(overrides):
        cfg = compose(entry, literal(one))
        for override in one:
            key, value = override.split("=", 1)
            if key in ("input", "output", "mask"):
                assert cfg[key] == value


def test_readme_is_for_somebody_with_two_minutes():
    assert len(README.split()) < 900


def test_readme_shows_a_command_of_every_main_entry_point():
    assert {"restore", "train", "evaluate"} <= {entry for entry, _ in commands(README)}


@pytest.mark.parametrize("target", re.findall(r"^    make (\S+)", README, re.MULTILINE))
def test_every_make_target_exists(target):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_every_relative_link_leads_somewhere(link):
    assert "://" in link or (ROOT / link).exists()
