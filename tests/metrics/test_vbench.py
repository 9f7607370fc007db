"""VBench runs in a Python of its own; here that Python has a stand-in of its interface."""

import sys

import pytest

from lvis.metrics import Unmeasured
from lvis.metrics.vbench import FILES, VBench

STAND_IN = """
import json, os
class VBench:
    def __init__(self, device, full_info_dir, output_path):
        assert full_info_dir.endswith("VBench_full_info.json")
        self.output = output_path
    def evaluate(self, videos_path, name, dimension_list, local, mode):
        assert local and mode == "custom_input" and os.environ["HF_HUB_OFFLINE"] == "1"
        if "motion_smoothness" in dimension_list:
            raise RuntimeError("AMT broke")
        results = {d: [0.5, [{"video_path": os.path.join(videos_path, f), "video_results": 0.1 * i}
                   for i, f in enumerate(sorted(os.listdir(videos_path)))]] for d in dimension_list}
        with open(os.path.join(self.output, name + "_eval_results.json"), "w") as file:
            json.dump(results, file)
"""


@pytest.fixture
def python(tmp_path) -> str:
    package = tmp_path / "site" / "vbench"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(STAND_IN)
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={package.parent} exec {sys.executable} "$@"\n')
    script.chmod(0o755)
    return str(script)


def test_without_an_interpreter_the_package_or_the_weights_it_says_which(tmp_path, python):
    dimensions = list(FILES)
    assert "python=PYTHON" in VBench({}).check(dimensions)["motion_smoothness"]
    assert (
        "not an interpreter"
        in VBench({"python": "/no/python"}).check(dimensions)["motion_smoothness"]
    )
    bare = VBench({"python": sys.executable, "cache": str(tmp_path)})
    assert "no vbench installed" in bare.check(dimensions)["motion_smoothness"]
    (tmp_path / "amt_model").mkdir()
    (tmp_path / "amt_model" / "amt-s.pth").touch()
    found = VBench({"python": python, "cache": str(tmp_path)}).check(dimensions)
    assert set(found) == set(dimensions) - {"motion_smoothness"}
    assert "ViT-B-32.pt is missing" in found["background_consistency"]


def test_scores_come_back_by_file_and_a_failure_is_a_reason(tmp_path, python):
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("0.mp4", "1.mp4"):
        (videos / name).touch()
    vbench = VBench({"python": python, "cache": str(tmp_path)})
    assert vbench.run(videos, ["imaging_quality"]) == {
        "imaging_quality": {"0.mp4": 0.0, "1.mp4": 0.1}
    }
    with pytest.raises(Unmeasured, match="AMT broke"):
        vbench.run(videos, ["motion_smoothness"])
