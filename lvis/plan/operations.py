"""Floating-point operations of the training's steps, and the hours that they take."""

from collections import Counter

from lvis.distill.settings import Settings
from lvis.plan.gpus import GPU
from lvis.plan.step import Step

Operations = Counter[tuple[str, str, str]]


def scaled(operations: Operations, factor: float) -> Operations:
    """Every count times a factor."""
    return Counter({key: int(value * factor) for key, value in operations.items()})


def step_operations(step: Step, settings: Settings) -> dict[str, Operations]:
    """Operations of one process by kind of step: "student update", "critic update", "step with
    both" (every `ratio`-th), "step with the critic alone", and "average step"."""
    student = scaled(step.student.operations, settings.accumulate)
    if step.critic is None or step.target is None:
        return {"student update": student, "average step": student}
    critic = scaled(step.critic.operations, settings.accumulate)
    both = student + critic
    alone = scaled(step.target.operations, settings.accumulate) + critic
    average = scaled(both, 1 / settings.ratio) + scaled(alone, 1 - 1 / settings.ratio)
    return {
        "student update": student,
        "critic update": critic,
        "step with both": both,
        "step with the critic alone": alone,
        "average step": average,
    }


def by(operations: Operations, index: int) -> dict[str, int]:
    """Sums by stage (0), kind (1) or precision (2), the largest first."""
    sums: Counter[str] = Counter()
    for key, value in operations.items():
        sums[key[index]] += value
    return dict(sums.most_common())


def hours(operations: Operations, steps: int, gpu: GPU, mfu: float) -> float:
    """Hours of `steps` average steps; every process computes its own clips."""
    return steps * gpu.seconds(operations, mfu) / 3600
