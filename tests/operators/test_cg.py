"""Conjugate gradients look at the tolerance less often on a GPU, and give the same."""

import pytest
import torch

from lvis.operators import LinearOperator, cg


@pytest.mark.parametrize("every", [3, 10, 100])
def test_fewer_looks_change_nothing(monkeypatch, every):
    random = torch.Generator().manual_seed(0)
    factor = torch.randn(2, 6, 6, generator=random, dtype=torch.float64)
    matrix = factor @ factor.mT + torch.eye(6, dtype=torch.float64)
    # one sample is done at once, the other needs its six steps
    rhs = torch.randn(2, 6, 1, generator=random, dtype=torch.float64)
    start = torch.zeros_like(rhs)
    start[0] = torch.linalg.solve(matrix[0], rhs[0])
    applied = []

    def solve():
        applied.clear()
        return cg.conjugate_gradients(
            lambda x: applied.append(1) or matrix @ x, rhs, start, 40, 1e-8
        )

    expected, fewest = solve(), len(applied)
    torch.testing.assert_close(expected, torch.linalg.solve(matrix, rhs))
    monkeypatch.setattr(cg, "steps_between_looks", lambda _: every)
    torch.testing.assert_close(solve(), expected, atol=0, rtol=0)
    assert len(applied) > fewest


class Rows(LinearOperator):
    """A blur along rows of which only A is known."""

    def __init__(self, **options):
        super().__init__(**options)
        self.applied = 0

    def forward(self, x):
        self.applied += 1
        return (x + x.roll(1, -1) + x.roll(2, -1)) / 3


def test_in_a_splitting_the_proximal_map_takes_few_steps_and_goes_on_where_it_stopped():
    random = torch.Generator().manual_seed(0)
    x, other = torch.rand(2, 1, 3, 2, 16, 48, generator=random, dtype=torch.float64)
    operator = Rows()
    y = operator(other)

    def misfit(found, gamma):
        return float(gamma * (y - operator(found)).square().sum() + (found - x).square().sum())

    operator.applied = 0
    exact, several = operator.prox(x, y, 1e6), operator.applied
    proximal = operator.proximal(y)
    operator.applied = 0
    near = proximal(x, 1e6)
    assert operator.applied < several
    assert misfit(near, 1e6) < misfit(x, 1e6) / 100
    # an easy one is solved, and what was kept for y is not of the first x
    assert torch.allclose(proximal(x, 1.0), operator.prox(x, y, 1.0), atol=1e-6)
    assert (operator(exact) - y).norm() <= (operator(near) - y).norm()
