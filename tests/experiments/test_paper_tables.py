"""A table of a paper: what is selected, how claims are judged, and what a page says where there is nothing."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from paper_tables import Selection, load_experiment, page
from paper_tables.claims import verdicts

from lvis.errors import UserError

CONFIG = {
    "title": "A paper, Table 9",
    "paper": {"name": "A paper", "where": "Table 9", "setup": "Large."},
    "ours": "Small.",
    "comparable": "Nothing.",
    "full": "python -m lvis.evaluate",
    "minutes": 1,
    "results": ["results.jsonl"],
    "clips": ["synthetic"],
    "columns": {
        "psnr": {"from": "psnr", "title": "PSNR", "unit": "dB", "digits": 2, "better": "higher"},
        "time": {"from": "seconds", "title": "Time", "unit": "s", "digits": 1, "better": "lower"},
        "fvd": {"from": "fvd", "title": "FVD", "digits": 1, "better": "lower", "unmeasured": "no I3D"},
    },
    "rows": [
        {"id": "a", "name": "method a", "select": {"method": "a"}},
        {"id": "b", "name": "method b", "select": {"method": "b"}},
        {"id": "c", "name": "method c", "note": "not implemented"},
    ],
    "numbers": {"all": {"a": ["30.30", "<2", "40.1"], "b": ["29.10", "4", "50.2"], "c": ["28.00", None, "60.3"]}},
    "claims": [
        {"text": "a is better.", "ahead": "a", "behind": "b", "column": "psnr", "why": {
            "holds": "because it is.", "does not hold": "because it is not.", "cannot be seen": "too few."}},
        {"text": "a is faster.", "ahead": "a", "behind": "b", "column": "time"},
        {"text": "a has the lower FVD.", "outcome": "cannot be seen", "why": {"cannot be seen": "no I3D."}},
    ],
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    """Write a config.yaml, changed at some keys, and rows, and load it."""

    def make(lines: list[dict], /, **changes):
        OmegaConf.save(OmegaConf.create({**CONFIG, **changes}), tmp_path / "config.yaml")
        text = "".join(json.dumps(row) + "\n" for row in lines)
        (tmp_path / "results.jsonl").write_text(text)
        return load_experiment(tmp_path / "config.yaml")

    return make


def rows(method: str, *psnr: float, seconds: float = 1.0, **more) -> list[dict]:
    return [
        {"clips": "synthetic", "clip": f"{n}", "task": "deblur", "seed": 0, "method": method}
        | {"psnr": value, "seconds": seconds, **more}
        for n, value in enumerate(psnr)
    ]


def outcome(experiment, claim: int = 0) -> list[str]:
    return [v.outcome for v in verdicts(Selection(experiment), experiment.claims[claim])]


def test_a_claim_is_judged_by_the_paired_difference_not_by_the_two_means(write):
    # clips differ by 20 dB, the methods by about 1 on each
    ahead, behind = (20.0, 30.0, 40.0), (19.1, 28.9, 39.0)
    assert outcome(write(rows("a", *ahead) + rows("b", *behind))) == ["holds"]
    assert outcome(write(rows("a", *behind) + rows("b", *ahead))) == ["does not hold"]
    assert outcome(write(rows("a", 20, 30, 41) + rows("b", 20, 31, 40))) == ["cannot be seen"]


def test_lower_is_better_turns_the_judgement(write):
    fast = rows("a", 1, 2, 3, seconds=1.0)
    slow = [row | {"seconds": 2.0 + row["psnr"] / 100} for row in rows("b", 1, 2, 3)]
    assert outcome(write(fast + slow), 1) == ["holds"]
    swapped = [row | {"method": {"a": "b", "b": "a"}[row["method"]]} for row in fast + slow]
    assert outcome(write(swapped), 1) == ["does not hold"]


def test_one_clip_and_no_shared_clip_show_nothing(write):
    assert outcome(write(rows("a", 30) + rows("b", 20))) == ["cannot be seen"]
    apart = [row | {"clip": "other"} for row in rows("b", 20)]
    assert outcome(write(rows("a", 30) + apart)) == ["not yet run"]


def test_equal_rows_and_numbers_that_are_none_show_nothing(write):
    assert outcome(write(rows("a", 30, 31) + rows("b", 30, 31))) == ["cannot be seen"]
    broken = rows("a", 30, float("nan")) + rows("b", 20, 21)
    assert outcome(write(broken)) == ["cannot be seen"]  # one clip is left


def test_a_claim_on_a_column_that_nothing_measures_was_run_and_cannot_be_seen(write):
    claim = {"text": "a has the lower FVD.", "ahead": "a", "behind": "b", "column": "fvd"}
    assert outcome(write(rows("a", 1, 2) + rows("b", 1, 2), claims=[claim])) == ["cannot be seen"]
    assert outcome(write(rows("a", 1, 2), claims=[claim])) == ["not yet run"]


def test_one_table_of_all_groups_says_in_each_cell_why_there_is_no_number(write, tmp_path):
    groups = [
        {"id": task, "name": f"the {task}", "select": {"task": task}} for task in ("deblur", "sr4")
    ]
    experiment = write(
        rows("a", 30, 31) + rows("a", 20, 21, task="sr4") + rows("b", 29, 29),
        paper=None,
        groups=groups,
        rows=[*CONFIG["rows"][:1], CONFIG["rows"][1] | {"absent": {"sr4": "blurs only"}}, CONFIG["rows"][2]],
        numbers={},
        claims=[],
        together="task",
        picture=["points.png", "more.jpg"],
    )  # fmt: skip
    text = page(experiment, tmp_path.parent)
    assert "The paper" not in text and "| task |  | n | PSNR (dB) ↑ | Time (s) ↓ |" in text
    assert "| the sr4 | method a | 2 | 20.50 ± 6.35 | 1.0 ± 0.0 |" in text
    assert "| the sr4 | method b | - | blurs only | - |" in text
    assert "| the deblur | method c | - | not implemented | - |" in text
    assert "points.png" not in text
    (tmp_path / "points.png").write_bytes(b"")
    assert f"![{experiment.title}](points.png)" in page(experiment, tmp_path.parent)
    (tmp_path / "more.jpg").write_bytes(b"")
    assert "![points](points.png)\n\n![more](more.jpg)" in page(experiment, tmp_path.parent)


def test_of_a_clip_that_was_measured_again_the_last_row_counts(write):
    experiment = write(rows("a", 10, 10) + rows("a", 20, 22))
    found = Selection(experiment).mean(
        "synthetic", experiment.groups[0], experiment.rows[0], experiment.columns["psnr"]
    )
    assert found is not None and (found.mean, found.count) == (21, 2)


def test_a_line_s_choice_narrows_its_group_s(write):
    experiment = write(
        rows("a", 20, 21, task="deblur") + rows("a", 30, 31, task="sr4"),
        groups=[{"id": "all", "name": "x", "select": {"task": "deblur"}}],
        rows=[{"id": "a", "name": "a", "select": {"task": ["deblur", "sr4"]}}],
        numbers={},
        claims=[],
    )
    assert "| a | 2 | 20.50" in page(experiment, experiment.folder.parent)


def test_the_page_has_ours_beside_the_paper_s_and_says_what_is_unmeasured(write, tmp_path):
    text = page(write(rows("a", 30, 31) + rows("b", 29, 29.5)), tmp_path.parent)
    assert "| method a | 2 | 30.50 ± 6.35 | 30.30 | 1.0 ± 0.0 | <2 |" in text
    assert "| method c | - | - | 28.00 | - | - |" in text
    assert "Unmeasured here: FVD: no I3D." in text
    assert "| method a | 40.1 |" in text
    assert "- method c: not implemented" in text


def test_without_rows_the_page_says_so_and_shows_the_paper_s_numbers_alone(write, tmp_path):
    text = page(write([]), tmp_path.parent)
    assert "**Not yet run.**" in text and "| A | all | - | - | **not yet run** |" in text
    assert "| method a | 30.30 | <2 | 40.1 |" in text and "±" not in text


def test_only_the_reasons_of_outcomes_that_occur_are_given(write, tmp_path):
    text = page(write(rows("a", 20, 30, 40) + rows("b", 19.1, 28.9, 39)), tmp_path.parent)
    assert "Claim A holds: because it is." in text and "because it is not." not in text
    assert "Claim C cannot be seen: no I3D." in text


def test_the_page_names_dates_commits_weights_and_processors(write, tmp_path):
    made = {"date": "2026-01-02", "code": "0123456789abcdef+", "weights": "feed"}
    made["machine"] = "processor Abacus, 2 cores, 1 threads; GPU none"
    text = page(write(rows("a", 1, 2, **made)), tmp_path.parent)
    assert "run 2026-01-02, commit 0123456789ab+, bundled weights feed, on Abacus)" in text
    assert "predate the recording" in page(write(rows("a", 1, 2)), tmp_path.parent)


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"colums": {}}, "colums is not a key"),
        ({"minutes": None}, "has no minutes"),
        ({"rows": [{"id": "a", "name": "a"}]}, "say why in its note"),
        ({"numbers": {"all": {"d": []}}}, "names d"),
        ({"numbers": {"all": {"a": ["1"]}}}, "write null where the paper has none"),
        ({"claims": [{"text": "", "ahead": "z", "behind": "b", "column": "psnr"}]}, "names z"),
        ({"claims": [{"text": "x", "outcome": "cannot be seen"}]}, "say why"),
        ({"claims": [{"text": "x", "outcome": "maybe"}]}, "names maybe"),
        ({"rows": [{"id": "a", "select": {}, "absent": {"sr9": "x"}}]}, "absent names sr9"),
        ({"columns": {"psnr": {"from": "psnr"}}}, "columns.psnr.better=None"),
    ],
)
def test_a_wrong_configuration_is_named(write, changes, told):
    with pytest.raises(UserError, match=told):
        write([], **changes)


def test_a_config_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_experiment(Path(tmp_path / "config.yaml"))
