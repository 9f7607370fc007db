"""The data step of solvers whose prior lives in latent space: decode, correct, encode (AVIS, Eqs. 6 to 8)."""

from torch import Tensor

from lvis.cli import values
from lvis.operators import LinearOperator
from lvis.operators.cg import conjugate_gradients


class ProximalCorrection:
    """argmin_x gamma/2 |y - A x|^2 + 1/2 |x - x_hat|^2 (AVIS, Eq. 7; VISION-XL and LVTINO alike).

    Args:
        gamma: weight of the measurement, the paper's 1.
        relative: divide gamma by |A|^2, the square of A's largest singular value. The paper's code
            has substitutes of the adjoint for which |A^T A| is about 1; with exact adjoints gamma = 1
            would move x by 1/17 of the residual for x4 averaging where the code moves it by 1/2.
        steps: conjugate gradient steps from x_hat, the paper's 5; None is the operator's own
            proximal map, in closed form where it has one.

    Raises:
        UserError: gamma or steps is not positive.
    """

    def __init__(self, gamma: float = 1.0, relative: bool = True, steps: int | None = None) -> None:
        values.positive("gamma", gamma)
        if steps is not None:
            values.whole("correction_steps", steps, 1)
        self.gamma, self.relative, self.steps = gamma, relative, steps

    def weight(self, operator: LinearOperator, x_shape: tuple[int, ...]) -> float:
        """gamma, or gamma / |A|^2 for x of this shape; an operator that is 0 keeps gamma."""
        largest = operator.norm(x_shape) if self.relative and not operator.official else 1.0
        return self.gamma / largest**2 if largest else self.gamma

    def __call__(
        self, operator: LinearOperator, measurement: Tensor, estimate: Tensor, weight: float
    ) -> Tensor:
        """The corrected estimate in [-1, 1], (B, 3, T, H, W)."""
        if self.steps is None:
            return operator.prox(estimate, measurement, weight).clamp(-1, 1)
        corrected = conjugate_gradients(
            lambda x: x + weight * operator.adjoint(operator(x), x.shape),
            estimate + weight * operator.adjoint(measurement, estimate.shape),
            estimate,
            self.steps,
            operator.cg_tolerance,
        )
        return corrected.clamp(-1, 1)
