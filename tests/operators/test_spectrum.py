"""Products by truncated singular vectors give what the whole matrices do."""

import pytest
import torch

from lvis.operators import Downsampling, GaussianBlur, Separable, TemporalAverage, compose
from lvis.operators.separable import NEGLIGIBLE
from lvis.operators.spectrum import Spectrum

OPERATORS = {
    "blur 0.8": GaussianBlur(size=21, sigma=0.8),
    "blur 3": GaussianBlur(size=61, sigma=3.0),
    "blur 6, zeros outside": GaussianBlur(size=41, sigma=6.0, border="zero"),
    "x2": Downsampling(2, "cubic"),
    "x4": Downsampling(4, "average"),
    "mean": TemporalAverage(7),
    "blurred mean": compose(GaussianBlur(size=21, sigma=2.0), TemporalAverage(4)),
    "small mean": compose(Downsampling(4), TemporalAverage(7)),
}
SIZES = [(32, 48), (40, 24)]


def plainly(operator: Separable, x: torch.Tensor, y: torch.Tensor, gamma: float) -> torch.Tensor:
    """argmin gamma/2 |y - A x'|^2 + 1/2 |x' - x|^2 with whole matrices, float64."""
    lengths = x.shape[2:]
    factors = [
        torch.linalg.svd(
            axis.matrix(length) if axis else torch.eye(length, dtype=torch.float64),
            full_matrices=False,
        )
        for axis, length in zip(operator.axes, lengths, strict=True)
    ]
    lefts, values, rights = zip(*factors, strict=True)
    spectrum = torch.einsum("t,h,w->thw", *values)
    residual = y - along(x, [(u * s) @ v for u, s, v in factors])
    modes = along(residual, [u.T for u in lefts]) * gamma * spectrum / (1 + gamma * spectrum**2)
    return x + along(modes, [v.T for v in rights])


def along(value: torch.Tensor, matrices: list[torch.Tensor]) -> torch.Tensor:
    time, rows, columns = matrices
    value = rows @ value @ columns.T
    return (time @ value.flatten(3)).unflatten(3, value.shape[3:])


def draw(operator: Separable, size: tuple[int, int], noise: float) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x, other = torch.rand(2, 1, 1, 9, *size, generator=generator, dtype=torch.float64) * 2 - 1
    y = operator(other)
    return x, y + noise * torch.randn(y.shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("noise", [0.0023, 0.1])
def test_the_proximal_map_in_float32_is_that_of_the_whole_matrices(name, size, noise):
    operator = OPERATORS[name]
    x, y = draw(operator, size, noise)
    proximal = operator.proximal(y.float())
    # tau falls, as in half-quadratic splitting, and rises again
    for tau in (0.4, 0.03, 0.4):
        gamma = 4 * (tau / noise) ** 2
        expected = plainly(operator, x, y, gamma)
        change = proximal(x.float(), gamma).double() - expected
        # float32 rounds y - A x by about 1e-6, and at most sqrt(gamma) / 2 of it comes through
        bound = NEGLIGIBLE * (y - operator(x)).norm() + 1e-6 * (1 + gamma**0.5) * x.norm()
        assert change.norm() < bound
        assert change.abs().max() < 1e-3


@pytest.mark.parametrize("name", OPERATORS)
def test_float64_leaves_nothing_out(name):
    operator = OPERATORS[name]
    x, y = draw(operator, SIZES[0], 0.02)
    expected = plainly(operator, x, y, 400.0)
    assert torch.allclose(operator.prox(x, y, 400.0), expected, atol=1e-9)


def test_a_blur_keeps_less_than_half_of_its_spectrum():
    spectrum = Spectrum(OPERATORS["blur 3"].axes, (9, 96, 96), torch.float32, torch.device("cpu"))
    kept = spectrum.kept(NEGLIGIBLE / 400)
    assert kept[3] * kept[4] < 0.5 * 96 * 96
    assert len(spectrum.values(kept)) == kept[3]
    assert spectrum.kept(0.0) == {3: 96, 4: 96}


@pytest.mark.parametrize("name", OPERATORS)
def test_gradients_are_those_of_the_plain_products(name):
    """With a gradient to record, torch's own products take the place of oneDNN's."""
    operator = OPERATORS[name]
    x, y = (value.float() for value in draw(operator, SIZES[0], 0.02))
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    leaf = x.clone().requires_grad_()
    operator.prox(leaf, y, 10.0).backward(direction)
    expected = operator.prox(direction, 0 * y, 10.0)
    assert torch.allclose(leaf.grad, expected, atol=1e-4)
    for forward, value in ((operator, x), (operator.adjoint, y), (operator.pinv, y)):
        recorded = forward(value.clone().requires_grad_())
        assert torch.allclose(forward(value), recorded, rtol=1e-4, atol=1e-4)
        assert forward(value).is_contiguous()
