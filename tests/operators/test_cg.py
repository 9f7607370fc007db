"""Conjugate gradients look at the tolerance less often on a GPU, and give the same."""

import pytest
import torch

from lvis.operators import cg


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
