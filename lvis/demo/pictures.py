"""Pictures and clips of the page: variants of a clip side by side, the teaser, the curves."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lvis.data.video import VideoWriter
from lvis.files import replacing
from lvis.restore.comparison import GAP, PAPER, SideBySide

QUALITY = 14  # of H.264, finer than usual: the differences are what is looked at


def write_strip(
    variants: Mapping[str, np.ndarray], folder: Path, name: str, rate: Fraction, enlarge: int
) -> tuple[Path, Path]:
    """Variants of a clip, uint8 (T, H, W, 3) each, side by side under their names.

    Returns:
        The middle frame as .png and the clip as .mp4 (H.264, 4:2:0), every pixel `enlarge` times
        as wide and high.
    """
    videos = [magnified(video, enlarge) for video in variants.values()]
    board = SideBySide(list(variants), *videos[0].shape[1:3])
    frames = [board(list(pictures)) for pictures in zip(*videos, strict=True)]
    still = write_png(folder / f"{name}.png", frames[len(frames) // 2])
    clip = folder / f"{name}.mp4"
    with VideoWriter(clip, rate, QUALITY) as writer:
        for frame in frames:
            writer.write(frame)
    return still, clip


def write_teaser(path: Path, rows: Sequence[Mapping[str, np.ndarray]], enlarge: int) -> Path:
    """A grid: a row of middle frames for each of `rows`, the variants' names over the first."""
    parts: list[np.ndarray] = []
    for row in rows:
        pictures = [magnified(video, enlarge)[len(video) // 2] for video in row.values()]
        board = SideBySide(list(row), *pictures[0].shape[:2])(pictures)
        strip = board.shape[0] - pictures[0].shape[0]
        # the captions' strip stays over the first row only, a gap is left over the others
        if parts:
            board = board[strip - GAP :].copy()
            board[:GAP] = PAPER
        parts.append(board)
    return write_png(path, np.concatenate(parts))


def magnified(video: np.ndarray, factor: int) -> np.ndarray:
    """Frames (T, H, W, 3) with every pixel repeated: what is there, without interpolation."""
    return video.repeat(factor, axis=1).repeat(factor, axis=2)


def write_png(path: Path, picture: np.ndarray) -> Path:
    with replacing(path) as partial:
        Image.fromarray(picture).save(partial)
    return path


def write_curves(journal: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """The likelihood of the steps and the PSNR of the validations, from lines of metrics.jsonl."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    likelihood = [line for line in journal if line.get("likelihood") is not None]
    validations = [line for line in journal if line["kind"] == "validation"]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)

    def draw(axes, lines: list[Mapping[str, Any]], name: str, style: str) -> None:  # noqa: ANN001
        steps, values = [line["step"] for line in lines], [line[name] for line in lines]
        axes.plot(steps, values, style, label="student")

    draw(left, likelihood, "likelihood", "-")
    left.set(title="likelihood term, training clips", xlabel="step", yscale="log")
    draw(right, validations, "student_psnr", "o-")
    right.axhline(
        validations[0]["baseline_psnr"], color="tab:gray", linestyle="--", label="D(E(y))"
    )
    right.set(title="PSNR in dB, held-out clips", xlabel="step")
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    with replacing(path) as partial:
        FigureCanvasAgg(figure).print_png(str(partial))
    return path
