"""From lvis.evaluate to the page, with the one solver that needs no weights."""

from lvis.cli.config import compose
from lvis.evaluate.command import evaluate
from lvis.report.command import report


def test_what_an_evaluation_keeps_is_played(tmp_path):
    results, output = tmp_path / "results", tmp_path / "page"
    overrides = ["clips.count=2", "clips.videos=1", "clips.frames=5", "clips.size=[32,32]"]
    evaluate(compose("evaluate", ["solver=pinv", f"output={results}", *overrides]))
    names = {path.name for path in (results / "videos").iterdir()}
    begin = "default_inpaint_lean_synthetic-0_"
    assert names == {f"{begin}{name}.mp4" for name in ("measurement", "pinv", "clean")}
    before = sorted(path.name for path in results.iterdir())
    html = report(compose("report", [f"results={results}", f"output={output}"])).read_text()
    for name in names:
        assert (output / "media" / name).read_bytes() == (results / "videos" / name).read_bytes()
        assert f'src="media/{name}"' in html
    # a picture of the clip without videos, and nothing of the report among the results
    assert html.count('class="board"') == 1
    assert 'class="still"' in html
    assert sorted(path.name for path in results.iterdir()) == before


def test_a_column_without_numbers_is_said_once_with_its_reason(tmp_path):
    results, output = tmp_path / "results", tmp_path / "page"
    more = ["clips.count=1", "clips.frames=5", "clips.size=[32,32]", "clips.pictures=0"]
    evaluate(compose("evaluate", ["solver=pinv", f"output={results}", *more]))
    html = report(compose("report", [f"results={results}", f"output={output}"])).read_text()
    assert "Peak memory, GPU: not on a CUDA device" in html
    assert html.count('class="soft">unmeasured</td>') == 2  # LPIPS too, in the table of means
