"""Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks").

torch.optim.Muon takes matrices only; this one takes convolution kernels too, as (out, in x taps) matrices. On the tiny
Wan VAE it reaches in 40 seconds what AdamW needs minutes for.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

# coefficients of the quintic Newton-Schulz iteration (same source)
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose matrix is replaced by the nearest semi-orthogonal one; no weight decay.

    parameters       of two dimensions and more
    lr               spectral size of a step
    momentum         of the running sum of gradients
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.9
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient; closures are not supported."""
        assert closure is None, "closure"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["sum"] = torch.zeros_like(parameter)
                running = state["sum"].mul_(group["momentum"]).add_(parameter.grad)
                update = orthogonalised((parameter.grad + group["momentum"] * running).flatten(1))
                rows, columns = update.shape
                scale = max(1.0, rows / columns) ** 0.5
                parameter.add_(update.view_as(parameter).to(parameter), alpha=-group["lr"] * scale)


def orthogonalised(matrix: Tensor) -> Tensor:
    """About U V^T of the singular value decomposition U S V^T of `matrix` (rows, columns), in bfloat16."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.mT if tall else matrix).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def is_hidden_matrix(parameter: nn.Parameter) -> bool:
    """What Muon is for: matrices and kernels between hidden layers, not vectors and not pixels in or out."""
    return parameter.ndim >= 2 and min(parameter.shape[0], parameter.shape[1]) > 3
