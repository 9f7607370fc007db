import pytest
import torch

from lvis.statistics import by_clip, interval, paired


def test_the_interval_is_students_and_one_clip_has_none():
    # t(0.975, 3) = 3.182, deviation of 1, 2, 3, 4 is 1.291
    found = interval([1, 2, 3, 4])
    assert found.mean == 2.5
    assert found.half == pytest.approx(3.18245 * 1.290994 / 2, rel=1e-5)
    assert interval([5.0]).half is None
    assert interval([]) is None


def test_it_covers_the_truth_as_often_as_it_says():
    draws = torch.randn(2000, 6, generator=torch.Generator().manual_seed(0)) + 3
    covered = [not abs((i := interval(row.tolist(), 0.9)).mean - 3) > i.half for row in draws]
    assert sum(covered) / len(covered) == pytest.approx(0.9, abs=0.02)


def test_pairing_takes_the_difficulty_of_clips_out():
    hard = {f"clip {n}": 10.0 * n for n in range(8)}
    better = {clip: value + 1 + 0.01 * n for n, (clip, value) in enumerate(hard.items())}
    difference = paired(better | {"another": 0.0}, hard)
    assert difference.count == 8
    assert difference.mean == pytest.approx(1.035)
    assert difference.excludes_zero and difference.half < 0.03
    assert interval(list(hard.values())).half > 10


def test_of_one_clips_rows_the_last_counts_and_unmeasured_ones_do_not():
    rows = [{"clip": "a", "psnr": 1.0}, {"clip": "a", "psnr": 2.0}, {"clip": "b", "psnr": None}]
    assert by_clip(rows, "psnr") == {"a": 2.0}
