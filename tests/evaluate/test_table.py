import json

from lvis.evaluate.table import read_rows, summary


def row(clip: str, method: str, psnr: float) -> dict:
    return {
        "clips": "synthetic",
        "clip": clip,
        "task": "deblur",
        "vae": "lean",
        "method": method,
        "psnr": psnr,
        "ssim": 0.5,
    }


def test_means_and_the_paired_gain():
    rows = [
        row("a", "D(E(y))", 20),
        row("b", "D(E(y))", 30),
        row("a", "student", 22),
        row("b", "student", 31),
    ]
    line = summary(rows, ["D(E(y))", "student"]).splitlines()[2]
    assert "25.00 / 0.500" in line
    assert "26.50 / 0.500" in line
    assert "+1.50 +- 0.50 dB" in line


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path):
    path = tmp_path / "results.jsonl"
    whole = json.dumps(row("a", "student", 22))
    path.write_text(whole + "\n" + whole[:20])
    assert len(read_rows(path)) == 1
