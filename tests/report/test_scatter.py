from xml.etree import ElementTree

from rows import row, write_results

from lvis.report.quantities import quantity
from lvis.report.results import load, sections
from lvis.report.scatter import plot, scatter


def section_of(tmp_path, rows):
    [section] = sections(load(write_results(tmp_path, rows)))
    return section


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
    section = section_of(tmp_path, rows)
    axes = plot(section, quantity("psnr"), 0.95).axes[0]
    points = {drawn.get_label(): drawn.lines[0].get_xydata()[0] for drawn in axes.containers}
    slow, fast, mid = points["slow & good"], points["fast"], points["mid"]
    assert slow[0] < mid[0] < fast[0] and slow[1] > mid[1] > fast[1]
    assert axes.get_xscale() == "log"
    [ceiling] = [line for line in axes.lines if line.get_label() == "D(E(x))"]
    assert ceiling.get_ydata()[0] == 33


def test_the_picture_is_coloured_by_the_page_and_names_every_entry(tmp_path):
    rows = [row(f"<b>{n}</b> & more", "a", 20 + n, seconds=1 + n) for n in range(3)]
    svg = scatter(section_of(tmp_path, rows), quantity("psnr"), 0.95)
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.text]
    assert [f"<b>{n}</b> & more" in texts for n in range(3)] == [True] * 3
    assert all(f"var(--c{n})" in svg for n in range(3)) and "#0102" not in svg
    # the ticks are plain numbers
    assert "mathdefault" not in svg


def test_without_times_there_is_nothing_to_draw(tmp_path):
    section = section_of(tmp_path, [row("pinv", "a", 20, seconds=None)])
    assert scatter(section, quantity("psnr"), 0.95) is None
