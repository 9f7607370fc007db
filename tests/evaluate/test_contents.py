"""A row is of what a path holds when it is evaluated, and not of the path."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lvis.cli.config import compose
from lvis.data.video import VideoWriter
from lvis.evaluate.command import evaluate
from lvis.evaluate.contents import content_digest, contents
from lvis.evaluate.table import read_rows

SMALL = ("solver=pinv", "task=inpaint", "clips.size=[32,32]", "clips.frames=5", "clips.pictures=0")


def run(output: Path, *overrides: str) -> list[dict]:
    return evaluate(compose("evaluate", [f"output={output}", *SMALL, *overrides]))


def shown(output: Path) -> str:
    return (output / "table_default.md").read_text().splitlines()[-1]


def draw_mask(path: Path, columns: int) -> None:
    mask = np.full((32, 32), 255, np.uint8)
    mask[:, :columns] = 0
    Image.fromarray(mask).save(path)


def write_clip(path: Path, seed: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    generator = np.random.default_rng(seed)
    with VideoWriter(path, Fraction(16)) as writer:
        for _ in range(5):
            writer.write(generator.integers(0, 255, (4, 4, 3), np.uint8).repeat(8, 0).repeat(8, 1))
    return path


def test_a_file_that_changed_under_its_path_is_evaluated_again_and_back(tmp_path):
    mask, output = tmp_path / "mask.png", tmp_path / "out"
    options = (f"task.operator.mask={mask}", "clips.count=1")
    draw_mask(mask, 8)
    run(output, *options)
    first = shown(output)
    draw_mask(mask, 20)
    run(output, *options)
    second = shown(output)
    assert second != first
    assert len({row["psnr"] for row in read_rows(output / "results.jsonl")}) == 2
    # the first one's rows are there already, and are what is shown again
    draw_mask(mask, 8)
    run(output, *options)
    assert shown(output) == first
    before = len(read_rows(output / "results.jsonl"))
    run(output, *options)
    assert len(read_rows(output / "results.jsonl")) == before == 3


def test_two_sets_of_clips_with_one_file_name_have_rows_each(tmp_path, capsys):
    sources = [write_clip(tmp_path / name / "clip.mp4", seed) for seed, name in enumerate("ab")]
    output = tmp_path / "out"
    tables = []
    for source in sources:
        run(output, f"clips.source=[{source}]")
        tables.append(shown(output))
    assert tables[0] != tables[1]
    assert "other clips of the same names" in capsys.readouterr().err
    run(output, f"clips.source=[{sources[0]}]")
    assert shown(output) == tables[0]


def test_the_draws_of_a_clip_follow_from_its_place_in_the_list(tmp_path):
    one, two = (write_clip(tmp_path / "set" / f"{name}.mp4", 7) for name in "ab")
    output = tmp_path / "out"
    # as many rows as draws: a and b as first and second clip
    for sources in (f"[{one},{two}]", f"[{two},{one}]"):
        run(output, f"clips.source={sources}")
    rows = read_rows(output / "results.jsonl")
    assert len({(row["clip"], row["number"]) for row in rows}) == len(rows) == 4


def test_weights_are_distinguished_by_what_is_in_their_folder(tmp_path):
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"one")
    settings = {"solver": {"weights": str(folder), "name": str(folder)}, "prompt": "a " * 5000}
    first = contents(settings)
    assert list(first) == ["solver.weights"]
    (folder / "weights.safetensors").write_bytes(b"two")
    second = contents(settings)
    (folder / "weights.safetensors").rename(folder / "other.safetensors")
    assert len({*first.values(), *second.values(), content_digest(folder)}) == 3


def test_a_change_that_leaves_no_trace_in_the_files_times_counts(tmp_path, monkeypatch):
    path, clock = tmp_path / "mask.png", 1.7e9
    found = SimpleNamespace(
        st_ino=1, st_size=3, st_mtime_ns=int(clock * 1e9), st_ctime_ns=0, st_ctime=clock
    )
    monkeypatch.setattr("lvis.evaluate.contents.time.time", lambda: clock + 0.001)
    digests = []
    for content in (b"one", b"two"):
        path.write_bytes(content)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "stat", lambda *_, **__: found)
            patch.setattr(Path, "is_dir", lambda _: False)
            digests.append(content_digest(path))
    assert digests[0] != digests[1]


@pytest.mark.parametrize("source", ["bundled:tiny/teacher"])
def test_bundled_weights_are_files_too(source):
    assert list(contents({"weights": source})) == ["weights"]
