"""The Frechet distance against closed forms, and sums over parts against the whole."""

import pytest
import torch

from lvis.metrics import Moments, Unmeasured, frechet_distance


def draw(count: int, dimensions: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dimensions, generator=generator, dtype=torch.float64)


def exact(mean, covariance) -> Moments:
    covariance = torch.as_tensor(covariance, dtype=torch.float64)
    return Moments(11, torch.as_tensor(mean, dtype=torch.float64), covariance * 10)


def test_gaussians_with_commuting_covariances_have_the_closed_form():
    first = exact([1.0, 2.0], [[4.0, 0.0], [0.0, 9.0]])
    second = exact([0.0, 0.0], [[1.0, 0.0], [0.0, 25.0]])
    # |m|^2 = 5 and sum (s1 - s2)^2 = (2 - 1)^2 + (3 - 5)^2 = 5
    assert frechet_distance(first, second) == pytest.approx(10.0, abs=1e-9)


def test_covariances_that_do_not_commute_agree_with_scipys_matrix_root():
    from scipy.linalg import sqrtm

    a, b = draw(60, 6, 0) @ draw(6, 6, 1), draw(70, 6, 2) @ draw(6, 6, 3) + 1
    moments = Moments.of(a), Moments.of(b)
    one, two = torch.cov(a.T).numpy(), torch.cov(b.T).numpy()
    mean = (a.mean(0) - b.mean(0)).square().sum().item()
    expected = mean + one.trace() + two.trace() - 2 * sqrtm(one @ two).trace().real
    assert frechet_distance(*moments) == pytest.approx(expected, rel=1e-9)


def test_it_is_symmetric_zero_on_itself_and_blind_to_rotation():
    a, b = draw(50, 5, 0), 2 * draw(50, 5, 1) + 1
    rotation = torch.linalg.qr(draw(5, 5, 2)).Q
    distance = frechet_distance(Moments.of(a), Moments.of(b))
    assert frechet_distance(Moments.of(b), Moments.of(a)) == pytest.approx(distance)
    rotated = frechet_distance(Moments.of(a @ rotation), Moments.of(b @ rotation))
    assert rotated == pytest.approx(distance)
    assert frechet_distance(Moments.of(a), Moments.of(a)) == pytest.approx(0, abs=1e-9)


def test_fewer_clips_than_dimensions_need_no_regulariser():
    a = draw(4, 40, 0)
    shift = torch.full((40,), 0.5, dtype=torch.float64)
    # the rounding of the 36 eigenvalues that should be 0 is all that is left
    distance = frechet_distance(Moments.of(a), Moments.of(a + shift))
    assert distance == pytest.approx(40 * 0.25, abs=1e-4)


def test_parts_merged_in_any_order_are_the_whole():
    features = draw(37, 7, 0) * 3 + 100
    whole = Moments.of(features)
    parts = [Moments.of(part) for part in features.split([1, 0, 20, 16])]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        merged = Moments.empty(7)
        for index in order:
            merged = merged.merge(parts[index])
        assert merged.count == 37
        torch.testing.assert_close(merged.mean, whole.mean, rtol=1e-12, atol=0)
        torch.testing.assert_close(merged.scatter, whole.scatter, rtol=1e-10, atol=1e-9)
    torch.testing.assert_close(whole.covariance, torch.cov(features.T), rtol=1e-10, atol=1e-10)


def test_one_vector_has_no_covariance_and_sizes_must_agree():
    with pytest.raises(Unmeasured, match="needs 2"):
        frechet_distance(Moments.of(draw(1, 3, 0)), Moments.of(draw(5, 3, 1)))
    with pytest.raises(ValueError, match="3 and 4"):
        frechet_distance(Moments.of(draw(5, 3, 0)), Moments.of(draw(5, 4, 1)))
