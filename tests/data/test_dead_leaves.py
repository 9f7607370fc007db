"""The leaves: their size law, their coverage and how they hide each other."""

import numpy as np
import pytest

from lvis.data.dead_leaves import SHAPES, coverage, draw_radii, drop_leaf, drop_leaves, mean_area
from lvis.data.photographs import photograph


def test_radii_follow_the_scale_invariant_law():
    radii = draw_radii(np.random.default_rng(0), 200_000, 2.0, 40.0)
    assert radii.min() >= 2 and radii.max() <= 40
    counts, edges = np.histogram(radii, np.geomspace(2, 20, 12))
    centres, widths = np.sqrt(edges[1:] * edges[:-1]), np.diff(edges)
    slope = np.polyfit(np.log(centres), np.log(counts / widths), 1)[0]
    assert slope == pytest.approx(-3, abs=0.1)
    assert np.pi * (radii**2).mean() == pytest.approx(mean_area(2.0, 40.0), rel=0.03)


@pytest.mark.parametrize("shape", [*SHAPES, "ring"])
@pytest.mark.parametrize("offset", [0.0, 0.37])
def test_coverage_sums_to_the_area(shape, offset):
    steps = np.arange(-40, 41, dtype=np.float32)
    share = coverage(shape, steps[None] - offset, steps[:, None] + offset, 20.0, 0.4, 0.5)
    corners = {"triangle": 3, "square": 4, "pentagon": 5, "hexagon": 6}
    if shape in corners:
        n = corners[shape]
        area = n / 2 * 20**2 * np.sin(2 * np.pi / n)
    else:
        area = {
            "disk": np.pi * 20**2,
            "ring": np.pi * 20**2 * (1 - 0.55**2),
            "ellipse": np.pi * 20 * 10,
            "rectangle": 40 * 20,
        }[shape]
    assert share.min() == 0 and share.max() == 1
    assert share.sum() == pytest.approx(area, rel=0.01)


def test_later_leaves_hide_earlier_ones():
    rng = np.random.default_rng(0)
    canvas = np.zeros((40, 40, 4), np.float32)
    photo = photograph("astronaut.png")
    for _ in range(5):
        before = canvas.copy()
        drop_leaf(rng, canvas, np.array([20.0, 20.0]), 15.0, photo, "train")
        assert np.abs(canvas[20, 20] - before[20, 20]).sum() > 0
        assert canvas[20, 20, 3] == pytest.approx(255)
    assert canvas[0, 0].max() == 0
    assert (canvas[..., :3] <= canvas[..., 3:] + 1e-3).all()


def test_scattered_leaves_leave_gaps_and_dense_ones_hardly_any():
    shares = []
    for density in (0.2, 3.0):
        canvas = np.zeros((128, 128, 4), np.float32)
        drop_leaves(np.random.default_rng(1), canvas, density, 64, "train")
        shares.append(canvas[..., 3].mean() / 255)
    assert 0.05 < shares[0] < 0.35 and shares[1] > 0.8
