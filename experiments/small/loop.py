"""A training of so many minutes or steps that goes on where it was interrupted."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lvis.cli.progress import say
from lvis.files import replacing
from lvis.weights.safe import read_file

CLIP_NORM = 1.0
LEAST_RATE = 0.01  # of the first


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long to train: `minutes` of wall clock, or `steps`, which do not depend on the machine."""

    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        assert (self.minutes is None) != (self.steps is None), "give minutes or steps"

    def done(self, seconds: float, step: int) -> float:
        """The share that is done, 1 at the end."""
        if self.steps is not None:
            return step / self.steps
        assert self.minutes is not None
        return seconds / 60 / self.minutes


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Of the learning rates: a linear warm-up over `warmup` steps, then a cosine; `rate` scales both.

    Attributes:
        micro_batches: losses per step.
        ema_most: of the averaged weights' decay, which rises as step / (step + ema_delay).
        report_every: seconds between validations, each of which also writes the checkpoint.
    """

    rate: float = 1.0
    warmup: int = 60
    micro_batches: int = 1
    ema_most: float = 0.998
    ema_delay: int = 10
    report_every: float = 240.0

    def factor(self, step: int, done: float) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return self.rate * min(1.0, (step + 1) / self.warmup) * max(LEAST_RATE, cosine)


class Training:
    """Parameters, their averages and optimisers, and the file that holds them between runs.

    Args:
        parameters: with their names, which a checkpoint knows them by.
        optimizers: of these parameters.
        checkpoint: written aside, then renamed; if it is there, the training goes on from it.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        optimizers: list[torch.optim.Optimizer],
        length: Length,
        schedule: Schedule,
        checkpoint: Path,
    ) -> None:
        self.parameters = dict(parameters)
        self.optimizers, self.length, self.schedule = optimizers, length, schedule
        self.checkpoint = checkpoint
        self.average = {name: each.detach().clone() for name, each in self.parameters.items()}
        self._rates = [[group["lr"] for group in each.param_groups] for each in optimizers]
        self.step, self._seconds = 0, 0.0
        if checkpoint.exists():
            self._resume()

    def run(
        self,
        loss_of: Callable[[int], Tensor],
        validate: Callable[[], str],
        stop_after: int | None = None,
    ) -> None:
        """Train to the end; the parameters are then the averaged ones.

        Args:
            loss_of: the loss of micro-batch 0, 1, 2, ...
            validate: scores of the averaged weights, as a line.
            stop_after: of this run, in steps, as if it had been interrupted.
        """
        first, reported, began = self.step, time.perf_counter(), time.perf_counter() - self._seconds
        while (done := self.length.done(time.perf_counter() - began, self.step)) < 1:
            self._update(loss_of, done)
            now = time.perf_counter()
            self._seconds = now - began
            if self.step - first == stop_after:
                self._save()
                return
            if now - reported >= self.schedule.report_every:
                self._report(validate)
                reported = time.perf_counter()
        self._report(validate)
        self._swap()

    def _update(self, loss_of: Callable[[int], Tensor], done: float) -> None:
        schedule = self.schedule
        factor = schedule.factor(self.step, done)
        for optimizer, rates in zip(self.optimizers, self._rates, strict=True):
            optimizer.zero_grad(set_to_none=True)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = factor * rate
        for micro in range(schedule.micro_batches):
            loss = loss_of(self.step * schedule.micro_batches + micro)
            if torch.isfinite(loss):
                (loss / schedule.micro_batches).backward()
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), CLIP_NORM)
        if torch.isfinite(norm):
            for optimizer in self.optimizers:
                optimizer.step()
        self.step += 1
        decay = min(schedule.ema_most, self.step / (self.step + schedule.ema_delay))
        with torch.no_grad():
            for name, average in self.average.items():
                average.lerp_(self.parameters[name], 1 - decay)

    @torch.no_grad()
    def _swap(self) -> None:
        for name, average in self.average.items():
            own = self.parameters[name].clone()
            self.parameters[name].copy_(average)
            average.copy_(own)

    def _report(self, validate: Callable[[], str]) -> None:
        self._save()
        self._swap()
        with torch.no_grad():
            scores = validate()
        self._swap()
        say(f"step {self.step}, {self._progress()}: {scores}")

    def _progress(self) -> str:
        per_minute = 60 * self.step / max(self._seconds, 1e-9)
        done = min(1.0, self.length.done(self._seconds, self.step))
        left = self._seconds / 60 * (1 - done) / max(done, 1e-9)
        return f"{per_minute:.1f} steps/min, {self._seconds / 60:.1f} min, {left:.0f} min left"

    def _save(self) -> None:
        state = {
            "net": {name: each.detach() for name, each in self.parameters.items()},
            "average": self.average,
            "optimizers": [each.state_dict() for each in self.optimizers],
            "step": self.step,
            "seconds": self._seconds,
        }
        with replacing(self.checkpoint) as partial:
            torch.save(state, partial)

    def _resume(self) -> None:
        state, _ = read_file(self.checkpoint)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(state["net"][name])
                self.average[name].copy_(state["average"][name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self._seconds = state["step"], state["seconds"]
        say(f"going on from {self.checkpoint}, step {self.step}")


def averaged(checkpoint: Path) -> dict[str, Tensor]:
    """The averaged weights of a checkpoint, by name.

    Raises:
        UserError: no such file, or not one of these.
    """
    return read_file(checkpoint)[0]["average"]
