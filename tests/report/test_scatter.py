from xml.etree import ElementTree

import pytest
from rows import row, write_results

from lvis.report.quantities import quantity
from lvis.report.results import load, sections
from lvis.report.scatter import HEIGHT, WIDTH, scatter


def drawn(tmp_path, rows):
    [section] = sections(load(write_results(tmp_path, rows)))
    return scatter(section, quantity("psnr"), 0.95)


def test_faster_is_further_right_and_better_further_up(tmp_path):
    rows = [
        row(method, clip, psnr + clip_gain, seconds=seconds)
        for method, psnr, seconds in (
            ("slow & good", 30, 9.0),
            ("fast", 20, 0.01),
            ("mid", 25, 0.3),
        )
        for clip, clip_gain in (("a", 0.0), ("b", 1.0))
    ]
    rows += [row("D(E(x))", clip, 33, seconds=None) for clip in ("a", "b")]
    svg = ElementTree.fromstring(drawn(tmp_path, rows))
    points = {
        group.find("title").text.split(":")[0]: (
            float(group.find("circle").get("cx")),
            float(group.find("circle").get("cy")),
        )
        for group in svg.iter("g")
    }
    slow, fast, mid = points["slow & good"], points["fast"], points["mid"]
    assert slow[0] < mid[0] < fast[0] and slow[1] < mid[1] < fast[1]
    # equal steps of quality are equal steps upwards
    assert fast[1] - mid[1] == pytest.approx(mid[1] - slow[1], abs=0.2)
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in points.values())
    [ceiling] = [line for line in svg.iter("line") if "dash" in line.get("class", "")]
    assert float(ceiling.get("y1")) < slow[1]


def test_labels_do_not_cover_each_other(tmp_path):
    rows = [row(f"method {n}", "a", 20 + 0.01 * n, seconds=1 + 0.01 * n) for n in range(4)]
    svg = ElementTree.fromstring(drawn(tmp_path, rows))
    heights = sorted(float(t.get("y")) for t in svg.iter("text") if "label" in t.get("class", ""))
    assert len(heights) == 4
    assert all(b - a >= 12 for a, b in zip(heights, heights[1:], strict=False))


def test_without_times_there_is_nothing_to_draw(tmp_path):
    assert drawn(tmp_path, [row("pinv", "a", 20, seconds=None)]) is None
