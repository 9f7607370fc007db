import json

from rows import row, write_results

from lvis.report.configs import differences, flat
from lvis.report.results import load


def test_keys_are_those_of_the_command_line():
    assert flat({"a": {"b": 1, "c": [1, 2]}, "d": "x", "e": {}}) == {
        "a.b": "1",
        "a.c": "[1, 2]",
        "d": "x",
        "e": "{}",
    }


def test_only_what_differs_is_shown(tmp_path):
    write_results(tmp_path, [row("s", "a", 1), row("s", "a", 2, solver="b", label="long")])
    (tmp_path / "configs").mkdir()
    for name, settings in {
        "a": {"solver": {"steps": 4, "shift": 5}, "output": "x"},
        "b": {"solver": {"steps": 8, "shift": 5, "t0": 0.2}, "output": "y"},
    }.items():
        (tmp_path / "configs" / f"{name}.json").write_text(json.dumps(settings))
    found = differences(load(tmp_path))
    assert found.runs == ["default · lean · a", "long · lean · b"]
    assert found.lines == [("solver.steps", ["4", "8"]), ("solver.t0", [None, "0.2"])]
    assert found.same == 1


def test_runs_with_a_config_beside_them_and_runs_without(tmp_path):
    for name in ("one", "two"):
        folder = write_results(tmp_path / name, [row("s", "a", 1, solver=None)])
        assert differences(load(tmp_path)) is None
        (folder / "config.json").write_text(json.dumps({"seed": name}))
    found = differences(load(tmp_path))
    assert found.lines == [("seed", ["one", "two"])]
    assert found.runs == ["one · default · lean", "two · default · lean"]
