import random

import pytest

from lvis.report.intervals import estimate, paired


def test_interval_is_students():
    found = estimate([1.0, 2.0, 3.0], 0.95)
    # t_2(0.975) = 4.30265, s = 1
    assert (found.mean, found.count) == (2.0, 3)
    assert found.half == pytest.approx(4.30265 / 3**0.5, abs=1e-4)


def test_interval_covers_as_often_as_it_says():
    draw = random.Random(0)
    hits = 0
    for _ in range(1000):
        found = estimate([draw.gauss(1.0, 2.0) for _ in range(4)], 0.8)
        hits += abs(found.mean - 1.0) <= found.half
    # three standard errors of a share of 0.8
    assert hits / 1000 == pytest.approx(0.8, abs=0.038)


def test_one_clip_has_no_interval():
    assert estimate([3.0], 0.95).half is None
    assert not estimate([3.0], 0.95).excludes_zero


def test_paired_difference_is_over_shared_clips_and_free_of_their_spread():
    reference = {"a": 10.0, "b": 30.0, "c": 20.0, "only here": 0.0}
    of = {"a": 11.0, "b": 31.2, "c": 20.8, "only there": 99.0}
    found = paired(of, reference, 0.95)
    assert (found.mean, found.count) == (pytest.approx(1.0), 3)
    assert found.excludes_zero
    assert estimate(list(of.values()), 0.95).half > 20 * found.half
    assert paired(of, {"elsewhere": 1.0}, 0.95) is None
