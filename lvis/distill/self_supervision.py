"""Terms that teach what a measurement does not show, without a clean clip (options, ours).

- "splitting": some observed pixels are hidden and predicted from the others (masks).
- "operators": the output is measured by another operator of the family, and must be restored
  (multi-operator imaging, Tachella et al. 2022).
- "equivariance": the output is mirrored or shifted, measured and must be restored (Chen et al. 2021).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lvis.operators import Inpainting, LinearOperator

TERMS = ("none", "splitting", "operators", "equivariance")
HIDDEN = 0.1  # share of the observed pixels
LONGEST_SHIFT = 16  # pixels

Restore = Callable[[Tensor, LinearOperator], Tensor]


def splitting(
    y: Tensor, operator: LinearOperator, restore: Restore, generator: torch.Generator
) -> Tensor | None:
    """Mean squared error at pixels that were measured but not shown; None for other operators.

    Args:
        y: the measurement, (B, 3, T, H, W).
        operator: realised.
        restore: (y, operator) -> x_hat, with its graph.
        generator: of the hidden pixels.
    """
    if not isinstance(operator, Inpainting):
        return None
    observed = operator.observed(y.shape).to(y.device)
    observed = observed.expand(len(y), 1, y.shape[2], *y.shape[3:])
    draw = torch.rand(observed.shape, generator=generator).to(y.device)
    hidden = observed & (draw < HIDDEN)
    rest = Inpainting(mask=(observed & ~hidden).float(), noise_std=operator.noise_std)
    error = (restore(y * ~hidden, rest.to(y.device)) - y).square() * hidden
    return error.sum() / (3 * hidden.sum()).clamp_min(1)


def other_operator(
    x_hat: Tensor, family: LinearOperator, restore: Restore, generator: torch.Generator
) -> Tensor:
    """|f(A_s x_hat + n) - x_hat|^2 for another draw A_s of the family; x_hat is taken as it is."""
    target = x_hat.detach()
    operator = family.realise(tuple(target.shape), generator).to(target.device)
    with torch.no_grad():
        y = operator.measure(target, generator)
    return (restore(y, operator) - target).square().mean()


def equivariance(
    x_hat: Tensor, operator: LinearOperator, restore: Restore, generator: torch.Generator
) -> Tensor:
    """|f(A T x_hat + n) - T x_hat|^2, T a mirroring and a circular shift."""
    down, right = torch.randint(-LONGEST_SHIFT, LONGEST_SHIFT + 1, (2,), generator=generator)
    target = x_hat.detach().roll((int(down), int(right)), dims=(3, 4))
    if float(torch.rand(1, generator=generator)) < 0.5:
        target = target.flip(4)
    with torch.no_grad():
        y = operator.measure(target, generator)
    return (restore(y, operator) - target).square().mean()
