"""Rows as lvis.evaluate writes them, and a results folder with videos."""

import json
from pathlib import Path

import torch

from lvis.evaluate.videos import save_videos


def row(method: str, clip: str, psnr: float, **more: object) -> dict:
    about = {
        "clips": "synthetic",
        "clip": clip,
        "number": 0,
        "task": "inpaint",
        "vae": "lean",
        "label": "default",
        "solver": "a",
        "seed": 0,
        "frames": 9,
        "size": [32, 48],
    }
    return {**about, "method": method, "psnr": psnr, "seconds": 0.5, **more}


def write_results(folder: Path, rows: list[dict]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(one) + "\n" for one in rows)
    (folder / "results.jsonl").write_text(lines, encoding="utf-8")
    return folder


def results_with_videos(folder: Path) -> Path:
    """Two clips, two methods; the videos of the first clip, whose brightness rises by 1/16 a frame."""
    rows = [
        row(method, f"clip-{index}", 20.0 + 5 * (method == "student") + index)
        for index in range(2)
        for method in ("pinv", "student")
    ]
    ramp = torch.arange(9).reshape(1, 1, 9, 1, 1) / 8 - 0.5
    video = ramp.expand(1, 3, 9, 32, 48)
    names = ("measurement", "pinv", "student", "clean")
    save_videos(folder, rows[0], dict.fromkeys(names, video))
    return write_results(folder, rows)
