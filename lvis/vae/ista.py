"""LeanVAE's bottleneck: compressed sensing, undone by unrolled ISTA with learned transforms."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvis.kernels.linear import linear
from lvis.vae.naf import NAF, Past

# the memory of (forward, backward) transforms, one pair an iteration
ISTAPast = tuple[tuple[Past, Past], ...]


class ISTABottleneck(nn.Module):
    """Features p (B, t, h, w, width) <-> codes z = p phi^T (B, t, h, w, latent_dim).

    `expand` starts from z Q^T and unrolls iterations of: a gradient step on |p phi^T - z|^2, a
    learned transform, a soft threshold, the transform back, added to the step's result.
    """

    def __init__(self, width: int, latent_dim: int, iterations: int, layers: int) -> None:
        super().__init__()
        sensing = torch.randn(latent_dim, width) * width**-0.5
        self.phi = nn.Parameter(sensing)
        self.Q = nn.Parameter(sensing.t().clone())
        self.forward_l = nn.ModuleList(
            NAF(width, layers, residual=False) for _ in range(iterations)
        )
        self.backward_l = nn.ModuleList(
            NAF(width, layers, residual=False) for _ in range(iterations)
        )
        self.weights = nn.ParameterList(torch.tensor(1.0) for _ in range(iterations))
        self.threshold = nn.ParameterList(torch.tensor([0.01]) for _ in range(iterations))

    def compress(self, features: Tensor) -> Tensor:
        """p -> z = p phi^T."""
        return linear(features, self.phi)

    def expand(self, codes: Tensor, past: ISTAPast | None) -> tuple[Tensor, ISTAPast]:
        """z -> an estimate of p, and the memory of its convolutions."""
        memory = []
        estimate = linear(codes, self.Q)
        for index, (analysis, synthesis) in enumerate(
            zip(self.forward_l, self.backward_l, strict=True)
        ):
            analysis_past, synthesis_past = (None, None) if past is None else past[index]
            residual = linear(estimate, self.phi) - codes
            stepped = estimate - self.weights[index] * linear(residual, self.phi.t())
            sparse, analysis_past = analysis(stepped, analysis_past)
            sparse = sparse.sign() * F.relu(sparse.abs() - self.threshold[index])
            correction, synthesis_past = synthesis(sparse, synthesis_past)
            estimate = stepped + correction
            memory.append((analysis_past, synthesis_past))
        return estimate, tuple(memory)
