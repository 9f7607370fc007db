"""Curves of the tiny world's pretraining, and what its teacher draws: `python experiments/tiny_world/plot.py`.

Reads outputs/pretrain/*/*/{curve,validation}.csv, keeps copies in curves/, writes curves.png and samples.png.
"""

import csv
import shutil
from pathlib import Path

import matplotlib  # noqa: TID253

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: TID253
import torch
from PIL import Image

from lvis.backbone import sample
from lvis.data.frames import to_frames
from lvis.restoring.comparison import SideBySide
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
def draw_samples(scale: float = 3.0, steps: int = 40) -> None:
    """Three frames of a clip for each prompt, standard guidance."""
    teacher = load_transformer("bundled:tiny/teacher", text_len=32)
    text_encoder = load_text_encoder("bundled:tiny/text_encoder", text_len=32)
    vae = load_wan_vae("bundled:tiny/wan_vae")
    generator = torch.Generator().manual_seed(0)
    latents = sample(
        teacher,
        (len(PROMPTS), 16, 9, 16, 16),
        text_encoder(list(PROMPTS)),
        text_encoder([""] * len(PROMPTS)),
        steps=steps,
        shift=3.0,
        scale=scale,
        generator=generator,
    )
    captions = [prompt.removeprefix("a large ") or "(no prompt)" for prompt in PROMPTS]
    board = SideBySide(captions, 256 * 3, 256)
    columns = []
    for index in range(len(PROMPTS)):
        frames = to_frames(vae.decode(latents[index : index + 1]))[[0, 16, 32]]
        columns.append(frames.repeat(2, axis=1).repeat(2, axis=2).reshape(3 * 256, 256, 3))
    Image.fromarray(board(columns)).save(HERE / "samples.png")


if __name__ == "__main__":
    keep_curves()
    plot_curves()
    draw_samples()
