"""What every operator must be: linear, with an exact adjoint, inverse, prox and gradients."""

import pytest
import torch

from lvis.operators import Composition, axes, mask
from lvis.operators.separable import Separable
from tests.operators.operators import SHAPE, dense, make, over_all, video

GAMMAS = (0.3, 1.0, 40.0)


@over_all
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_adjoint_is_exact(name, dtype, bound):
    operator = make(name)
    x = video(0, dtype)
    y = video(1, dtype, operator.measurement_shape(SHAPE))
    left = (operator(x).double() * y.double()).sum()
    right = (x.double() * operator.adjoint(y, x.shape).double()).sum()
    scale = operator(x).double().norm() * y.double().norm()
    assert (left - right).abs() <= bound * scale


@over_all
def test_linear(name):
    operator = make(name)
    x, other = video(0), video(1)
    torch.testing.assert_close(
        operator(2 * x - 3 * other), 2 * operator(x) - 3 * operator(other), rtol=0, atol=1e-12
    )
    assert operator(torch.zeros_like(x)).abs().max() == 0


@over_all
def test_samples_of_a_batch_do_not_mix(name):
    operator = make(name)
    x = video(0)
    changed = torch.cat([x[:1], video(1)[1:]])
    torch.testing.assert_close(operator(changed)[0], operator(x)[0], rtol=0, atol=0)
    y, y_changed = operator(x), operator(changed)
    torch.testing.assert_close(operator.pinv(y_changed)[0], operator.pinv(y)[0], rtol=0, atol=1e-9)


@over_all
def test_shapes_are_announced(name):
    operator = make(name)
    y = operator(video(0))
    assert operator.measurement_shape(SHAPE) == y.shape
    assert operator.video_shape(y.shape) == SHAPE
    assert operator.lift(y).shape == SHAPE
    assert operator.adjoint(y).shape == SHAPE


@over_all
def test_prox_is_the_dense_solution(name):
    operator = make(name)
    operator.cg_tolerance = 1e-9
    x, other = video(0), video(1)
    y = operator(other) + 0.1 * video(2, shape=operator.measurement_shape(SHAPE))
    for gamma in GAMMAS:
        answer = operator.prox(x, y, gamma).flatten(1)
        for sample, matrix in enumerate(dense(operator)):
            system = gamma * matrix.T @ matrix + torch.eye(matrix.shape[1], dtype=torch.float64)
            rhs = gamma * matrix.T @ y[sample].flatten() + x[sample].flatten()
            expected = torch.linalg.solve(system, rhs)
            torch.testing.assert_close(answer[sample], expected, rtol=0, atol=1e-5)


@over_all
def test_prox_takes_one_gamma_a_sample(name):
    operator = make(name)
    x, y = video(0), operator(video(1))
    both = operator.prox(x, y, torch.tensor([0.5, 5.0], dtype=torch.float64))
    torch.testing.assert_close(both[0], operator.prox(x, y, 0.5)[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(both[1], operator.prox(x, y, 5.0)[1], rtol=0, atol=1e-6)


@over_all
def test_pinv_is_the_dense_pseudo_inverse(name):
    operator = make(name)
    operator.cg_iterations, operator.cg_tolerance = 2000, 1e-12
    y = operator(video(0)) + 0.1 * video(1, shape=operator.measurement_shape(SHAPE))
    cutoff = operator.rcond if isinstance(operator, Separable) else 1e-9
    answer = operator.pinv(y).flatten(1)
    for sample, matrix in enumerate(dense(operator)):
        expected = torch.linalg.pinv(matrix, rtol=cutoff) @ y[sample].flatten()
        torch.testing.assert_close(answer[sample], expected, rtol=1e-6, atol=1e-6)


@over_all
def test_least_squares_comes_closer_to_the_measurement_and_keeps_a_start_that_fits(name):
    operator = make(name)
    y, start = operator(video(0)), video(1)
    misfits = [
        (operator(operator.least_squares(y, start, steps)) - y).norm() for steps in (0, 2, 200)
    ]
    torch.testing.assert_close(misfits[0], (operator(start) - y).norm())
    assert misfits[1] < misfits[0]
    assert misfits[2] < 0.05 * misfits[0]
    torch.testing.assert_close(operator.least_squares(y, video(0), 5), video(0))


@over_all
def test_float32_agrees_with_float64(name):
    operator = make(name)
    x, y = video(0), operator(video(1))
    torch.testing.assert_close(operator(x.float()).double(), operator(x), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        operator.prox(x.float(), y.float(), 1.0).double(),
        operator.prox(x, y, 1.0),
        rtol=0,
        atol=1e-5,
    )


@over_all
def test_norm_is_the_largest_singular_value(name):
    operator = make(name)
    expected = max(float(torch.linalg.matrix_norm(matrix, 2)) for matrix in dense(operator))
    assert operator.norm(SHAPE) == pytest.approx(expected, rel=0.02)


@over_all
def test_gradients_flow_through_everything(name):
    operator = make(name)
    operator.cg_iterations, operator.cg_tolerance = 6, 0.0
    x = video(0).requires_grad_()
    y = operator(video(1)).detach().requires_grad_()
    direction_x, direction_y = video(2), video(3, shape=y.shape)
    maps = {
        "A": lambda x, y: operator(x),
        "adjoint": lambda x, y: operator.adjoint(y, x.shape),
        "pinv": lambda x, y: operator.pinv(y),
        "prox": lambda x, y: operator.prox(x, y, 2.0),
        "lift": lambda x, y: operator.lift(y),
    }
    for label, function in maps.items():
        weight = torch.linspace(-1, 1, function(x, y).numel(), dtype=torch.float64)

        def loss(x, y, function=function, weight=weight):
            return (function(x, y).flatten() * weight).sum()

        gradients = torch.autograd.grad(loss(x, y), (x, y), allow_unused=True)
        slope = sum(
            (gradient * direction).sum()
            for gradient, direction in zip(gradients, (direction_x, direction_y), strict=True)
            if gradient is not None
        )
        step = 1e-5
        with torch.no_grad():
            ahead = loss(x + step * direction_x, y + step * direction_y)
            behind = loss(x - step * direction_x, y - step * direction_y)
        expected = (ahead - behind) / (2 * step)
        torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-6, msg=label)


@over_all
def test_half_precision_is_computed_in_single(name):
    operator = make(name)
    x = video(0, torch.bfloat16)
    y = operator(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.double(), operator(x.double()), rtol=0, atol=2e-2)


@over_all
def test_autocast_does_not_reach_an_operator(name):
    operator = make(name)
    x = video(0, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(operator(x), operator(x.clone()), rtol=0, atol=0)
        inside = operator(x)
    torch.testing.assert_close(inside, operator(x), rtol=0, atol=1e-6)


@over_all
def test_restoring_without_gradients_does_not_spoil_training(name):
    operator = make(name)
    for cache in (axes._decompose, axes.factors, axes.cached, mask._draw):
        cache.cache_clear()
    with torch.inference_mode():
        y = operator(video(0, torch.float32))
        operator.pinv(y)
        operator.prox(video(0, torch.float32), y, 1.0)
    x = video(1, torch.float32).requires_grad_()
    operator.adjoint(operator(x), x.shape).square().sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


@over_all
def test_measure_adds_seeded_noise_of_the_given_level(name):
    operator = make(name)
    x = video(0)
    clean = operator(x)
    torch.testing.assert_close(operator.measure(x), clean, rtol=0, atol=0)
    operator.noise_std = 0.25
    noise = operator.measure(x, torch.Generator().manual_seed(3)) - clean
    again = operator.measure(x, torch.Generator().manual_seed(3)) - clean
    torch.testing.assert_close(noise, again, rtol=0, atol=0)
    missing = operator.outer.missing(clean.shape) if isinstance(operator, Composition) else None
    missing = operator.missing(SHAPE) if missing is None else missing
    measured = (
        torch.ones_like(noise) if missing is None else (1 - missing).expand_as(noise).double()
    )
    assert (noise * (1 - measured)).abs().max() == 0
    draws = torch.stack(
        [operator.measure(x, torch.Generator().manual_seed(seed)) - clean for seed in range(50)]
    )
    level = (draws.square().sum() / (50 * measured.sum())).sqrt().item()
    assert level == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize("name", ["blur_reflect", "downsample_average", "sr_plus"])
def test_official_substitute_is_not_the_adjoint_but_solves(name):
    """AVIS's substitutes: the identity for a blur, bilinear upsampling for downsampling."""
    exact = make(name)
    official = Separable(*exact.axes, adjoint="official")
    y = exact(video(0))
    assert not torch.allclose(official.adjoint(y), exact.adjoint(y), atol=1e-2)
    if name != "sr_plus":
        torch.testing.assert_close(official.adjoint(y), exact.lift(y), rtol=0, atol=1e-12)
    start = torch.zeros(SHAPE, dtype=torch.float64)
    closer = official(official.prox(start, y, 1.0)) - y
    assert closer.norm() < 0.9 * y.norm()
