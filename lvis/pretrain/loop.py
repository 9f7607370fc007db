"""The training loop of every pretraining recipe: two optimisers, a moving average, checkpoints that resume."""

import csv
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lvis.cli.progress import progress_bar
from lvis.files import replacing
from lvis.pretrain.schedule import optimizers, warmup_cosine
from lvis.weights.safe import read_file

EMA_DECAY = 0.995
CLIP_NORM = 1.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """steps, rates (Muon's None = AdamW alone), warm-up, and how often to validate, save and write a line."""

    steps: int
    adamw_rate: float
    muon_rate: float | None
    warmup_steps: int = 30
    validate_every: int = 250
    log_every: int = 25
    adamw_only: tuple[str, ...] = ()  # parts of names that Muon leaves alone
    ema_decay: float = EMA_DECAY  # of the averaged weights


def fit(
    net: nn.Module,
    loss_of: Callable[[dict], dict[str, Tensor]],
    validate: Callable[[], dict[str, float]],
    batches: Iterable[dict],
    plan: Plan,
    folder: Path,
) -> dict[str, float]:
    """Minimise `loss_of(batch)["loss"]`; leaves the averaged weights in `net`.

    Args:
        batches: endless; a resumed run skips nothing, it draws new ones.
        validate: metrics of the averaged weights.
        folder: gets curve.csv, validation.csv and checkpoint.pt, from which the same call resumes.

    Returns:
        The last validation's metrics.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optims = optimizers(
        net.named_parameters(),
        adamw_rate=plan.adamw_rate,
        muon_rate=plan.muon_rate,
        adamw_only=plan.adamw_only,
    )
    schedules = [warmup_cosine(optimizer, plan.steps, plan.warmup_steps) for optimizer in optims]
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(plan.ema_decay)
    )
    parts: dict[str, Any] = {"net": net, "average": average}
    parts |= {f"optimizer{i}": optimizer for i, optimizer in enumerate(optims)}
    parts |= {f"schedule{i}": schedule for i, schedule in enumerate(schedules)}
    step = _resume(folder / "checkpoint.pt", parts)
    source = iter(batches)
    metrics: dict[str, float] = {}
    started = time.perf_counter()
    with progress_bar("steps") as bar:
        task = bar.add_task(folder.name, total=plan.steps, completed=step)
        while step < plan.steps:
            losses = loss_of(next(source))
            for optimizer in optims:
                optimizer.zero_grad(set_to_none=True)
            losses["loss"].backward()
            norm = nn.utils.clip_grad_norm_(net.parameters(), CLIP_NORM)
            if torch.isfinite(norm):
                for optimizer in optims:
                    optimizer.step()
            for schedule in schedules:
                schedule.step()
            average.update_parameters(net)
            step += 1
            bar.advance(task)
            if step % plan.log_every == 0:
                values = {name: value.item() for name, value in losses.items()}
                seconds = time.perf_counter() - started
                _append(
                    folder / "curve.csv",
                    {"step": step, "seconds": seconds, "norm": norm.item(), **values},
                )
            if step % plan.validate_every == 0 or step == plan.steps:
                with _weights_of(net, average), torch.no_grad():
                    metrics = validate()
                _append(folder / "validation.csv", {"step": step, **metrics})
                _save(folder / "checkpoint.pt", parts, step)
    net.load_state_dict(average.module.state_dict())
    if not metrics:
        with torch.no_grad():
            metrics = validate()
    return metrics


class _weights_of:
    """Within the block `net` has the weights of `average`."""

    def __init__(self, net: nn.Module, average: torch.optim.swa_utils.AveragedModel) -> None:
        self.net, self.average = net, average

    def __enter__(self) -> None:
        self.own = {name: value.clone() for name, value in self.net.state_dict().items()}
        self.net.load_state_dict(self.average.module.state_dict())

    def __exit__(self, *exception: object) -> None:
        self.net.load_state_dict(self.own)


def _resume(path: Path, parts: dict) -> int:
    if not path.exists():
        return 0
    saved, _ = read_file(path)
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return saved["step"]


def _save(path: Path, parts: dict, step: int) -> None:
    with replacing(path) as partial:
        torch.save(
            {"step": step} | {name: part.state_dict() for name, part in parts.items()}, partial
        )


def _append(path: Path, row: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
