"""The papers' qualitative figures are drawn of the videos that an evaluation kept, in the papers' order."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lvis.errors import UserError
from lvis.evaluate.videos import CLEAN, MEASUREMENT, save_videos

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "figures.py"
GREYS = {MEASUREMENT: -0.8, "svi": -0.3, "student": 0.3, CLEAN: 0.8}


@pytest.fixture(scope="module")
def figures():
    spec = importlib.util.spec_from_file_location("experiments_figures", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results(tmp_path) -> Path:
    rows = []
    for method in ("student", "svi"):
        row = {"label": "x", "task": "deblur", "vae": "lean", "clip": "a", "method": method}
        rows.append({**row, "psnr": 20.0})
        names = (method, MEASUREMENT, CLEAN)
        videos = {name: torch.full((1, 3, 9, 48, 48), GREYS[name]) for name in names}
        videos[CLEAN][..., 24:40, 24:40] = -1  # what a detail is to show
        save_videos(tmp_path, row, videos)
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def nearest(parts) -> list[str]:
    """The names whose grey is nearest to that of each part."""
    greys = {name: 127.5 * (level + 1) for name, level in GREYS.items()}
    return [min(greys, key=lambda name: abs(greys[name] - float(part))) for part in parts]


def test_a_sequence_has_a_row_for_each_method_in_the_papers_order(figures, results):
    [path] = figures.draw(results, results / "out", figures.sequences)
    picture = np.asarray(Image.open(path).convert("L"))
    height = picture.shape[0] // 4
    middle = [picture[number * height + height // 2, 10] for number in range(4)]
    assert path.name == "deblur.jpg"
    assert nearest(middle) == [MEASUREMENT, "svi", "student", CLEAN]
    assert picture.shape[1] == figures.FRAMES * 48 + (figures.FRAMES - 1) * figures.GAP


def test_a_detail_is_the_part_of_most_contrast(figures, results):
    [path] = figures.draw(results, results / "out", figures.details)
    picture = np.asarray(Image.open(path).convert("L")).astype(float)
    below = picture[-90:]
    columns = np.array_split(below, 4, axis=1)
    assert nearest([column.mean() for column in columns[:3]]) == [MEASUREMENT, "svi", "student"]
    assert columns[3].std() > 50 and all(column[:, 8:-8].std() < 5 for column in columns[:3])


def test_results_without_videos_are_one_sentence(figures, tmp_path):
    (tmp_path / "results.jsonl").write_text("")
    with pytest.raises(UserError, match=r"clips\.videos=1"):
        figures.draw(tmp_path, tmp_path, figures.sequences)
