"""What a visitor may choose, and the equivalent overrides of lvis.restore."""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lvis.cli.config import CONF, compose
from lvis.data.frames import VideoInfo
from lvis.errors import UserError

LONGEST_PROMPT = 500  # characters
SIDES = (128, 160, 192, 256, 384, 512)  # shorter sides that a clean clip can be scaled to
_NOT_OFFERED = ("own", "any")  # need code of the user's; are for training only
# keys of solvers that say how much the prior may change, with the least of each
_STRENGTHS = {"strength": 0.0, "t0": 0.02, "tau": 0.02}
_lock = threading.Lock()  # compose() clears Hydra's global


@dataclass(frozen=True)
class Parameter:
    """A number of a task or solver: `key` within its group, its range and its default."""

    key: str
    label: str
    low: float
    high: float
    whole: bool
    default: float

    def checked(self, value: Any) -> float:
        """Raises UserError where `value` is not a number in the range."""
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise UserError(f"{self.label}={value} is not a number; give one")
        if not self.low <= value <= self.high or (self.whole and value != int(value)):
            kind = "a whole number" if self.whole else "a number"
            raise UserError(
                f"{self.label}={value:g} is not {kind} from {self.low:g} to {self.high:g}; give one"
            )
        return int(value) if self.whole else float(value)


_KNOWN = {
    "sigma": ("blur (sigma, pixels)", 0.3, 10.0),
    "missing_share": ("share of missing pixels", 0.05, 0.95),
    "window": ("averaged frames", 2, 16),
    "factor": ("factor", 2, 8),
    "noise_std": ("noise (of [-1, 1])", 0.0, 0.5),
}


@dataclass(frozen=True)
class Menu:
    """Tasks and solvers with their parameters, as the configuration has them.

    `passed_on` are overrides (model, vae, device, precision) that every restoration gets; `students` the
    tasks that have a student.
    """

    tasks: dict[str, list[Parameter]]
    titles: dict[str, str]
    solvers: dict[str, Parameter | None]
    students: list[str]
    masked: list[str]
    passed_on: tuple[str, ...]
    max_pixels: int
    seed: int

    @classmethod
    def read(
        cls, solvers: Sequence[str], passed_on: tuple[str, ...], max_pixels: int, seed: int
    ) -> "Menu":
        """From conf/.

        Raises:
            UserError: a solver that is not in conf/solver, or a wrong override.
        """
        names = sorted(path.stem for path in (CONF / "task").glob("*.yaml"))
        names = [name for name in names if name not in _NOT_OFFERED]
        tasks, titles, students, masked = {}, {}, [], []
        for name in names:
            config = composed([f"task={name}", "solver=student", *passed_on])
            operator = OmegaConf.to_container(config.task.operator)
            tasks[name] = list(_parameters(operator))
            comment = (CONF / "task" / f"{name}.yaml").read_text().splitlines()[0]
            titles[name] = comment.removeprefix("# ").split(". ")[0].split(" (")[0].rstrip(".")
            if config.solver.weights is not None:
                students.append(name)
            if any(parameter.key.endswith("missing_share") for parameter in tasks[name]):
                masked.append(name)
        found = {name: _strength(composed([f"solver={name}", *passed_on])) for name in solvers}
        return cls(tasks, titles, found, students, masked, passed_on, max_pixels, seed)

    def shown(self) -> dict[str, Any]:
        """For the page, as JSON."""
        return {
            "tasks": [
                {
                    "name": name,
                    "title": self.titles[name],
                    "student": name in self.students,
                    "masked": name in self.masked,
                    "parameters": [vars(parameter) for parameter in parameters],
                }
                for name, parameters in self.tasks.items()
            ],
            "solvers": [
                {"name": name, "strength": strength and vars(strength)}
                for name, strength in self.solvers.items()
            ],
            "sides": list(SIDES),
            "longest_prompt": LONGEST_PROMPT,
        }


@dataclass(frozen=True)
class Choice:
    """A checked request of the page. `clip` is None for the webcam; `side` is the shorter side that a
    clean clip is scaled to; None keeps its size."""

    clip: str | None
    task: str
    solver: str
    parameters: tuple[tuple[str, float], ...]
    strength: float | None
    prompt: str
    degrade: bool
    side: int | None
    mask: str | None

    @classmethod
    def of(cls, message: dict[str, Any], menu: Menu) -> "Choice":
        """Raises UserError where the message asks for something that is not on the menu."""
        task = _one_of("task", message.get("task"), menu.tasks)
        solver = _one_of("solver", message.get("solver"), menu.solvers)
        given = message.get("parameters") or {}
        if not isinstance(given, dict):
            raise UserError("the parameters are not names with numbers; reload the page")
        known = {parameter.key: parameter for parameter in menu.tasks[task]}
        values = []
        for key, value in given.items():
            if key not in known:
                raise UserError(f"task={task} has no parameter {key!r}; reload the page")
            values.append((key, known[key].checked(value)))
        strength, wanted = menu.solvers[solver], message.get("strength")
        prompt = message.get("prompt") or ""
        if not isinstance(prompt, str) or len(prompt) > LONGEST_PROMPT:
            raise UserError(f"the prompt is longer than {LONGEST_PROMPT} characters; shorten it")
        side = message.get("side")
        if side is not None and side not in SIDES:
            raise UserError(f"side={side} is not offered; use one of {', '.join(map(str, SIDES))}")
        degrade = message.get("degrade", True)
        if not isinstance(degrade, bool):
            raise UserError(f"degrade={degrade} is neither true nor false; use one of them")
        return cls(
            clip=_identifier(message.get("clip")),
            task=task,
            solver=solver,
            parameters=tuple(values),
            strength=None if strength is None or wanted is None else strength.checked(wanted),
            prompt=prompt,
            degrade=degrade,
            side=side if degrade else None,
            mask=_identifier(message.get("mask")),
        )

    def overrides(self, menu: Menu) -> list[str]:
        """For lvis.restore: all but paths and the prompt, which Hydra must not interpolate."""
        words = [f"task={self.task}", f"solver={self.solver}", *menu.passed_on]
        defaults = {parameter.key: parameter.default for parameter in menu.tasks[self.task]}
        for key, value in self.parameters:
            if value != defaults[key]:
                words.append(f"task.operator.{key}={value}")
        strength = menu.solvers[self.solver]
        if strength is not None and self.strength not in (None, strength.default):
            words.append(f"solver.{strength.key}={self.strength}")
        if self.degrade:
            words.append("degrade=true")
        if menu.seed:
            words.append(f"seed={menu.seed}")
        return words


def scaled(info: VideoInfo, side: int | None) -> tuple[int, int] | None:
    """(H, W) of a clip whose shorter side is brought to `side`, multiples of 8; None keeps its size."""
    if side is None or side >= min(info.height, info.width):
        return None
    scale = side / min(info.height, info.width)
    height, width = (max(8, round(s * scale / 8) * 8) for s in (info.height, info.width))
    return height, width


def composed(overrides: Sequence[str]) -> DictConfig:
    """conf/restore.yaml with these overrides, from any thread."""
    with _lock:
        return compose("restore", list(overrides))


def _parameters(operator: Any, prefix: str = "") -> Any:
    for key, value in operator.items():
        if isinstance(value, dict):
            yield from _parameters(value, f"{prefix}{key}.")
        elif key in _KNOWN and isinstance(value, int | float):
            label, low, high = _KNOWN[key]
            yield Parameter(f"{prefix}{key}", label, low, high, isinstance(low, int), value)


def _strength(config: DictConfig) -> Parameter | None:
    for key, least in _STRENGTHS.items():
        if isinstance(value := config.solver.get(key), int | float):
            label = "strength" if key == "strength" else f"strength ({key})"
            return Parameter(key, label, least, 1.0, False, float(value))
    return None


def _one_of(name: str, value: Any, known: Any) -> str:
    if not isinstance(value, str) or value not in known:
        raise UserError(f"{name}={value!r} is not offered here; use one of {', '.join(known)}")
    return value


def _identifier(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > 64:
        raise UserError("that is not the name of a clip or mask; reload the page")
    return value
