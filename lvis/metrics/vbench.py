"""VBench's dimensions, computed by a Python of their own: VBench's pins exclude ours.

`metric_weights.vbench.python` is the interpreter of an environment with vbench 0.1.5, and `cache`
the folder of its weights; nothing is downloaded from here.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lvis.cli import values
from lvis.metrics.errors import Unmeasured

WORKER = Path(__file__).with_name("vbench_worker.py")
TIMEOUT = 3600.0  # seconds for one call; five networks on a CPU are slow
_PROBE = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vbench') is None)"

# dimension -> the files in VBench's cache without which it would go to the network
FILES = {
    "subject_consistency": (
        "dino_model/dino_vitbase16_pretrain.pth",
        "dino_model/facebookresearch_dino_main",
    ),
    "background_consistency": ("clip_model/ViT-B-32.pt",),
    "motion_smoothness": ("amt_model/amt-s.pth",),
    "aesthetic_quality": (
        "clip_model/ViT-L-14.pt",
        "aesthetic_model/emb_reader/sa_0_4_vit_l_14_linear.pth",
    ),
    "imaging_quality": ("pyiqa_model/musiq_spaq_ckpt-358bb6af.pth",),
}


class VBench:
    """Runs VBench's custom-input mode on a folder of videos.

    Args:
        node: `python` and `cache` as above.
    """

    def __init__(self, node: Mapping[str, Any]) -> None:
        self._python = node.get("python")
        cache = values.optional_path("metric_weights.vbench.cache", node.get("cache"))
        self._cache = Path(cache or Path.home() / ".cache" / "vbench").expanduser()

    def check(self, dimensions: Sequence[str]) -> dict[str, str]:
        """Dimension -> why it cannot be measured; empty where all can."""
        reason = self._why_not()
        if reason:
            return dict.fromkeys(dimensions, reason)
        absent = {
            dimension: [name for name in FILES[dimension] if not (self._cache / name).exists()]
            for dimension in dimensions
        }
        return {
            dimension: f"no weights: {self._cache / names[0]} is missing"
            for dimension, names in absent.items()
            if names
        }

    def run(self, folder: Path, dimensions: Sequence[str]) -> dict[str, dict[str, float]]:
        """Scores of the mp4 files in `folder`: dimension -> file name -> score.

        Raises:
            Unmeasured: VBench failed; the last line of what it said.
        """
        with tempfile.TemporaryDirectory() as place:
            answer = Path(place) / "answer.json"
            environment = os.environ | {
                "VBENCH_CACHE_DIR": str(self._cache),
                "HF_HUB_OFFLINE": "1",
                "TRANSFORMERS_OFFLINE": "1",
            }
            environment.pop("PYTHONPATH", None)
            # as text: run by its path, its folder would go first among the modules, and the files
            # here called vbench and lpips would be taken for the packages
            code = WORKER.read_text(encoding="utf-8")
            command = [str(self._python), "-c", code, str(folder), str(answer), *dimensions]
            try:
                done = subprocess.run(
                    command, env=environment, cwd=place, capture_output=True, text=True,
                    timeout=TIMEOUT,
                )  # fmt: skip
            except (OSError, subprocess.TimeoutExpired) as error:
                raise Unmeasured(f"VBench did not run: {type(error).__name__}") from error
            if done.returncode or not answer.is_file():
                said = done.stderr.strip().splitlines() or ["it gave no reason"]
                raise Unmeasured(f"VBench failed: {said[-1][:200]}")
            return json.loads(answer.read_text(encoding="utf-8"))

    def _why_not(self) -> str | None:
        if not self._python:
            return "not installed: give metric_weights.vbench.python=PYTHON of its environment"
        try:
            probe = subprocess.run([str(self._python), "-c", _PROBE], capture_output=True)
        except OSError:
            return f"metric_weights.vbench.python={self._python} is not an interpreter"
        return f"{self._python} has no vbench installed" if probe.returncode else None
