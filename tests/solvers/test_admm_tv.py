"""ADMM-TV: D^T is D's adjoint, the objective falls and settles, a flat patch is denoised."""

import pytest
import torch

from lvis.errors import UserError
from lvis.operators import LinearOperator
from lvis.solvers.admm_tv import ADMMTVSolver, differences, differences_adjoint, shrink


class Identity(LinearOperator):
    def forward(self, x):
        return x


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_differences_adjoint_is_the_transpose():
    x, weights = random(2, 3, 4, 5, 6), (0.5, 1.0, 1.0)
    slopes = [random(*part.shape) for part in differences(x)]
    left = sum((a * b).sum() for a, b in zip(differences(x, weights), slopes, strict=True))
    assert left.item() == pytest.approx(
        (x * differences_adjoint(slopes, weights)).sum().item(), rel=1e-4
    )


def test_shrink_moves_towards_zero_and_stops_there():
    assert shrink(torch.tensor([-2.0, -0.5, 0.0, 3.0]), 1.0).tolist() == [-1.0, 0.0, 0.0, 2.0]


def test_noise_on_a_step_edge_is_removed_and_the_objective_settles():
    clean = torch.full((1, 3, 6, 16, 16), -0.5)
    clean[..., 8:] = 0.5
    y = clean + 0.1 * random(*clean.shape)
    solver = ADMMTVSolver(tv_weight=0.1, rho=1.0, iterations=60)
    with solver.open(Identity(), (16, 16)) as stream:
        assert stream.push(y[:, :, :2]) == [] and stream.push(y[:, :, 2:]) == []
        restored = torch.cat(stream.finish(), dim=2)
    assert restored.shape == clean.shape
    assert (restored - clean).square().mean() < 0.1 * (y - clean).square().mean()
    assert stream.residual[-1] < 0.02 * stream.residual[0]
    assert abs(stream.objective[-1] - stream.objective[-10]) < 1e-3 * stream.objective[-1]


def test_settings_must_be_positive():
    with pytest.raises(UserError, match="rho=0"):
        ADMMTVSolver(rho=0)
