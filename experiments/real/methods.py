"""The methods of the table: three without a network, and what `lvis.restore` does by default."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from lvis.cli.config import compose
from lvis.errors import UserError
from lvis.operators import LinearOperator
from lvis.restorer import Restorer
from lvis.solvers.base import Solver
from lvis.solvers.blocks import block_frames
from lvis.solvers.consistency import LOSSY
from real.measurements import H264, Cell

ROOT = Path(__file__).resolve().parents[2]
TV_WEIGHTS = Path(__file__).with_name("tv_weights.json")
BASELINES = ("pinv", "admm_tv", "infill")
# of the Gaussians of `infill`, the narrowest that finds something decides
WIDTHS, ENOUGH = (1.0, 3.0, 9.0, 27.0), 0.05


def operator_of(cell: Cell, clean: Tensor) -> LinearOperator:
    """The task's operator as configured, with its noise and its mask drawn."""
    return restorer("pinv", cell, ()).operator.realise(clean.shape)


def restore(
    method: str, cell: Cell, operator: LinearOperator, measurement: Tensor, overrides: Sequence[str]
) -> Tensor:
    """x_hat (1, 3, T, H, W) of the whole measurement, pushed block by block.

    Args:
        method: "infill", or a file of conf/solver: "pinv" and "admm_tv" as baselines, any other with
            what is configured and `overrides`.

    Raises:
        UserError: an unknown method, or a task that it cannot do.
    """
    shape = operator.video_shape(measurement.shape)
    if method == "infill":
        missing = operator.missing(shape)
        if missing is None:
            raise UserError(f"infill needs a mask, and task={cell.task} has none")
        return infill(measurement, 1 - missing)
    if method == "admm_tv" and not overrides:
        weight = tv_weight(cell)
        overrides = (f"solver.tv_weight={weight}", f"solver.rho={30 * weight}")
    solver = restorer(method, cell, () if method == "pinv" else tuple(overrides)).solver
    return restored(solver, operator, measurement)


def restored(solver: Solver, operator: LinearOperator, measurement: Tensor) -> Tensor:
    """x_hat (1, 3, T, H, W) of a whole measurement (1, 3, T, H_y, W_y), pushed block by block."""
    size = operator.video_shape(measurement.shape)[-2:]
    frames: list[Tensor] = []
    with solver.open(operator, (size[0], size[1]), prompt="", seed=0) as stream:
        place, (count, later) = 0, block_frames(solver.block_size)
        while place < measurement.shape[2]:
            frames += stream.push(measurement[:, :, place : place + count])
            place, count = place + count, later
        frames += stream.finish()
    return torch.cat(frames, dim=2)


def restorer(method: str, cell: Cell, overrides: tuple[str, ...]) -> Restorer:
    """As `lvis.restore` composes it, for the task and the noise of the cell."""
    return _restorer(method, replace(cell, clip="", size=""), overrides)


@lru_cache(maxsize=4)  # a student holds its networks
def _restorer(method: str, cell: Cell, overrides: tuple[str, ...]) -> Restorer:
    keys = compose("restore", [f"task={cell.task}"])
    chosen = [f"task.operator.noise_std={cell.noise_std}"]
    if method in BASELINES:
        if "consistency" in keys:
            chosen.append("consistency=none")
        if "rcond" in keys.task.operator and cell.noise_std:
            # what conf/task advises for a noise: the fair A^+ y
            chosen.append(f"task.operator.rcond={max(0.01, 2 * cell.noise_std)}")
    elif cell.noise == H264:
        # what lvis.restore takes for a lossy file
        chosen.append(f"floor={LOSSY}")
    return Restorer.from_pretrained(
        task=cell.task, solver=method, device="cpu", overrides=[*chosen, *overrides]
    )


def infill(measurement: Tensor, observed: Tensor) -> Tensor:
    """Normalised convolution (Knutsson and Westin 1993) of the observed pixels with Gaussians.

    Args:
        measurement: (1, 3, T, H, W).
        observed: 1 where a pixel was measured, broadcastable to (1, 1, T, H, W).
    """
    weight = observed.expand(1, 1, *measurement.shape[2:]).numpy().astype("float32")
    values = (measurement * observed).numpy()
    filled = torch.zeros_like(measurement)
    open_places = 1 - torch.from_numpy(weight)
    for width in WIDTHS:
        sigma = (0, 0, 0, width, width)
        known = torch.from_numpy(gaussian_filter(weight, sigma))
        mean = torch.from_numpy(gaussian_filter(values, sigma)) / known.clamp_min(1e-6)
        use = (open_places > 0) & (known > ENOUGH)
        filled = torch.where(use, mean, filled)
        open_places = torch.where(use, torch.zeros(()), open_places)
    return torch.where(torch.from_numpy(weight) > 0, measurement, filled)


def tv_weight(cell: Cell) -> float:
    """ADMM-TV's lambda for this task and noise: the best of three on other clips (tune.py)."""
    known = json.loads(TV_WEIGHTS.read_text(encoding="utf-8"))["weights"]
    return float(known[cell.task][cell.noise])


@cache
def weights_digest(method: str, overrides: tuple[str, ...]) -> str:
    """Of the bundled weights as experiments/evaluation.sh has it, and of a file given in their place;
    "" for methods without a network."""
    if method in BASELINES:
        return ""
    bundled = sorted(
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "lvis" / "weights" / "bundled").rglob("*")
        if path.is_file() and path.suffix != ".md"
    )
    lines = [f"{_sha256(ROOT / name)}  {name}\n" for name in bundled]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()[:12]
    for override in overrides:
        given = Path(override.partition("=")[2])
        if given.exists():
            files = sorted(given.rglob("*")) if given.is_dir() else [given]
            text = "".join(_sha256(path) for path in files if path.is_file())
            digest += f"+{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return digest


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
