"""Curves of the tiny world's pretraining, and what its teacher draws: `python experiments/tiny_world/plot.py`.

Reads outputs/pretrain/*/*/{curve,validation}.csv, keeps copies in curves/, writes curves.png and samples.png.
"""

import csv
import shutil
from itertools import count
from pathlib import Path
from typing import Any

import matplotlib  # noqa: TID253

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: TID253
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lvis.backbone import sample
from lvis.data.comparison import SideBySide
from lvis.data.frames import to_frames
from lvis.data.synthetic import synthetic_clip
from lvis.weights import load_text_encoder, load_transformer, load_wan_vae

HERE = Path(__file__).parent
COLUMNS = 5
PROMPTS = (
    "a large red disk moves left",
    "a large blue square moves up",
    "a large green triangle moves right",
    "the camera pans right",
    "leaves move left",
    "",
)
SIDE = 128
# fresh noise in every step: with Euler's method alone the backdrops are softer
SAMPLER: dict[str, Any] = {"steps": 120, "shift": 3.0, "scale": 4.0, "eta": 1.0}


def keep_curves() -> None:
    for path in Path("outputs/pretrain").glob("*/*/*.csv"):
        shutil.copy(path, HERE / "curves" / f"{path.parts[-3]}_{path.parts[-2]}_{path.stem}.csv")


def read(path: Path) -> dict[str, list[float]]:
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {key: [float(row[key]) for row in rows] for key in rows[0]}


def plot_curves() -> None:
    names = sorted(
        path.stem.removesuffix("_curve") for path in (HERE / "curves").glob("*_curve.csv")
    )
    rows = -(-len(names) // COLUMNS)
    figure, axes = plt.subplots(
        2 * rows, COLUMNS, figsize=(3.2 * COLUMNS, 4.4 * rows), layout="constrained"
    )
    pairs = [pair for row in range(rows) for pair in axes[2 * row : 2 * row + 2].T]
    for top, bottom in pairs[len(names) :]:
        top.axis("off")
        bottom.axis("off")
    for (top, bottom), name in zip(pairs, names, strict=False):
        curve = read(HERE / "curves" / f"{name}_curve.csv")
        top.plot(curve["step"], curve["loss"], linewidth=0.8)
        top.set(title=name, xlabel="step", ylabel="training loss", yscale="log")
        validation = read(HERE / "curves" / f"{name}_validation.csv")
        for key, values in validation.items():
            if key != "step":
                bottom.plot(validation["step"], values, marker=".", label=key)
        bottom.set(xlabel="step", ylabel="held-out")
        bottom.legend()
    figure.savefig(HERE / "curves.png", dpi=80)


@torch.inference_mode()
def draw_samples(seed: int = 0) -> None:
    """Three frames of a clip for each prompt, and below them of a held-out clip of the like."""
    teacher = load_transformer("bundled:tiny/teacher", text_len=32)
    text_encoder = load_text_encoder("bundled:tiny/text_encoder", text_len=32)
    vae = load_wan_vae("bundled:tiny/wan_vae")
    latents = sample(
        teacher,
        (len(PROMPTS), 16, 9, SIDE // 8, SIDE // 8),
        text_encoder(list(PROMPTS)),
        text_encoder([""] * len(PROMPTS)),
        generator=torch.Generator().manual_seed(seed),
        **SAMPLER,
    )
    captions = [short(prompt) or "(no prompt)" for prompt in PROMPTS]
    board = SideBySide(captions, 3 * 2 * SIDE, 2 * SIDE)
    drawn = [to_frames(vae.decode(latents[[index]])) for index in range(len(PROMPTS))]
    world = [
        to_frames(held_out_clip(" ".join(prompt.split()[2:4])).unsqueeze(0)) for prompt in PROMPTS
    ]
    rows = [board([strip(frames) for frames in clips]) for clips in (drawn, world)]
    Image.fromarray(np.concatenate(rows)).save(HERE / "samples.png")


def short(prompt: str) -> str:
    """A caption that fits above its clip."""
    return (
        prompt.removeprefix("a large ")
        .removeprefix("the ")
        .replace(" moves", ",")
        .replace(" move", ",")
    )


def held_out_clip(words: str) -> Tensor:
    """The first one whose caption has the words in it, (3, 33, H, W); where there are none, one without a caption."""
    for index in count():
        caption = synthetic_clip(0, index, 1, (SIDE, SIDE), "val").caption
        if words in caption if words else not caption:
            return synthetic_clip(0, index, 33, (SIDE, SIDE), "val").video
    raise AssertionError


def strip(frames: np.ndarray) -> np.ndarray:
    """The first, middle and last frame below each other, twice as large."""
    chosen = frames[[0, 16, 32]].repeat(2, axis=1).repeat(2, axis=2)
    return chosen.reshape(3 * 2 * SIDE, 2 * SIDE, 3)


if __name__ == "__main__":
    if Path("outputs/pretrain").is_dir():  # the curves of a training here
        keep_curves()
    plot_curves()
    draw_samples()
