"""Conjugate gradients, batched over the first dimension and differentiable through the steps."""

from collections.abc import Callable

import torch
from torch import Tensor

# steps between two looks at the tolerance on CUDA, where a look makes the host wait
LOOK_EVERY = 10


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor],
    rhs: Tensor,
    start: Tensor,
    iterations: int,
    tolerance: float,
) -> Tensor:
    """Solve apply(x) = rhs for a symmetric positive (semi-)definite `apply`.

    Every sample of the batch has its own step sizes, so a sample's result does not depend on its
    neighbours. On a singular system that is consistent, the iterations from a zero start stay in
    the range of `apply` and reach the minimum-norm solution.

    Args:
        apply: the linear map, (B, ...) -> (B, ...), which must not mix samples.
        rhs: (B, ...).
        start: (B, ...), the first iterate.
        iterations: at most this many.
        tolerance: stop when |rhs - apply(x)| <= tolerance * |rhs| in every sample. On CUDA that is
            looked at every `LOOK_EVERY` steps only; a sample that is done does not change in between.

    Returns:
        The last iterate, (B, ...).
    """
    solution = start
    residual = rhs - apply(start)
    direction = residual
    energy = _dot(residual, residual)
    # the square of a float32 norm can underflow: an exact zero right-hand side must end the loop,
    # not divide by it
    target = tolerance**2 * _dot(rhs, rhs).detach() + torch.finfo(rhs.dtype).tiny
    every = steps_between_looks(rhs.device)
    for step_number in range(iterations):
        running = energy.detach() > target
        looks = step_number % every == every - 1
        if looks and not bool(running.any()):
            break
        image = apply(direction)
        # finished samples take zero steps; the division is guarded before it happens so that its
        # gradient is finite
        curvature = torch.where(running, _dot(direction, image), torch.ones_like(energy))
        step = torch.where(running & (curvature.detach() != 0), energy, 0) / _nonzero(curvature)
        solution = solution + step * direction
        residual = residual - step * image
        next_energy = _dot(residual, residual)
        ratio = torch.where(running, next_energy, 0) / torch.where(running, energy, 1)
        direction = residual + ratio * direction
        energy = next_energy
    return solution


def steps_between_looks(device: torch.device) -> int:
    return LOOK_EVERY if device.type == "cuda" else 1


def _dot(left: Tensor, right: Tensor) -> Tensor:
    """Inner products of the samples, (B, ...) -> (B, 1, ...)."""
    return (left * right).sum(dim=tuple(range(1, left.ndim)), keepdim=True)


def _nonzero(value: Tensor) -> Tensor:
    return torch.where(value == 0, 1, value)
