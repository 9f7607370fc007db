"""ADMM-TV: min_x 1/2 |A x - y|^2 + lambda |D x|_1, D = (D_t, D_h, D_w); no network (Boyd et al. 2011)."""

from typing import Any

import torch
from torch import Tensor

from lvis.cli import values
from lvis.operators import LinearOperator
from lvis.operators.cg import conjugate_gradients
from lvis.solvers.base import Solver, Stream
from lvis.solvers.whole_clip import WholeClipStream

AXES = (2, 3, 4)


class ADMMTVSolver(Solver):
    """Spatio-temporal total variation, anisotropic, with free borders.

    Args:
        tv_weight: lambda.
        rho: the penalty of D x = z.
        iterations: of ADMM.
        cg_steps: conjugate gradient steps of each x-update, from the x before.
        time_weight: of D_t relative to D_h and D_w.

    Raises:
        UserError: a setting that is not positive.
    """

    name = "admm_tv"
    exact = True

    def __init__(
        self,
        tv_weight: float = 0.003,
        rho: float = 0.1,
        iterations: int = 60,
        cg_steps: int = 5,
        time_weight: float = 1.0,
        device: str | torch.device = "cpu",
    ) -> None:
        settings = {"tv_weight": tv_weight, "rho": rho, "iterations": iterations}
        settings |= {"cg_steps": cg_steps, "time_weight": time_weight}
        for key, value in settings.items():
            values.positive(f"solver.{key}", value)
        self.tv_weight, self.rho, self.time_weight = tv_weight, rho, time_weight
        self.iterations, self.cg_steps = iterations, cg_steps
        self.device = torch.device(device)

    def stream_type(self, operator: LinearOperator) -> type[Stream[Any]]:
        """See `Solver.stream_type`."""
        self.require_pixels(operator)
        self.require_adjoint(operator)
        return ADMMTVStream


class ADMMTVStream(WholeClipStream[ADMMTVSolver]):
    """Attributes:
    objective: 1/2 |A x - y|^2 + lambda |D x|_1 after each iteration, summed over the batch.
    residual: |D x - z| after each iteration.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.objective: list[float] = []
        self.residual: list[float] = []

    def restore_clip(self, measurement: Tensor) -> Tensor:
        solver, operator = self.solver, self.operator
        weights = (solver.time_weight, 1.0, 1.0)
        shape = torch.Size((*measurement.shape[:3], *self.size))
        back_projection = operator.adjoint(measurement, shape)

        def normal(x: Tensor) -> Tensor:
            smooth = differences_adjoint(differences(x, weights), weights)
            return operator.adjoint(operator(x), shape) + solver.rho * smooth

        x = operator.pinv(measurement)
        split = differences(x, weights)
        dual = [torch.zeros_like(part) for part in split]
        for _ in range(solver.iterations):
            target = [z - u for z, u in zip(split, dual, strict=True)]
            rhs = back_projection + solver.rho * differences_adjoint(target, weights)
            x = conjugate_gradients(normal, rhs, x, solver.cg_steps, operator.cg_tolerance)
            slopes = differences(x, weights)
            split = [
                shrink(s + u, solver.tv_weight / solver.rho)
                for s, u in zip(slopes, dual, strict=True)
            ]
            dual = [u + s - z for u, s, z in zip(dual, slopes, split, strict=True)]
            fit = 0.5 * (operator(x) - measurement).square().sum()
            variation = sum(s.abs().sum() for s in slopes)
            self.objective.append(float(fit + solver.tv_weight * variation))
            gaps = [(s - z).square().sum() for s, z in zip(slopes, split, strict=True)]
            self.residual.append(float(torch.stack(gaps).sum().sqrt()))
        return x


def differences(x: Tensor, weights: tuple[float, ...] = (1.0, 1.0, 1.0)) -> list[Tensor]:
    """D x: forward differences along T, H and W of (B, C, T, H, W), one shorter each."""
    return [weight * x.diff(dim=axis) for axis, weight in zip(AXES, weights, strict=True)]


def differences_adjoint(
    slopes: list[Tensor], weights: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> Tensor:
    """D^T of `differences`."""
    parts = []
    for slope, axis, weight in zip(slopes, AXES, weights, strict=True):
        border = torch.zeros_like(slope.sum(axis, keepdim=True))
        parts.append(-weight * torch.cat([border, slope, border], axis).diff(dim=axis))
    return parts[0] + parts[1] + parts[2]


def shrink(value: Tensor, threshold: float) -> Tensor:
    """The proximal map of threshold * |.|_1."""
    return value.sign() * (value.abs() - threshold).clamp_min(0)
