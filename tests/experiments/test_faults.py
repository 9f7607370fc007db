"""Each fault of `make faults`, once."""

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "faults"
sys.path.insert(0, str(FOLDER))

import run  # noqa: E402
import scenarios  # noqa: E402
import training  # noqa: E402

FAST = {"killed_while_saving", "term_to_one_rank", "nan_on_one_rank", "full_disk"}
NAMES = [
    pytest.param(name, marks=[] if name in FAST else pytest.mark.slow)
    for name in scenarios.SCENARIOS
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return training.write_weights(tmp_path_factory.mktemp("faults") / "weights")


@pytest.mark.parametrize("name", NAMES)
def test_the_outcome_is_as_promised(name, weights, tmp_path_factory):
    # undisturbed runs are made beside the weights, once for all scenarios
    folder = weights.parent / "tries" / name
    folder.mkdir(parents=True)
    outcome = scenarios.SCENARIOS[name][1](weights, folder)
    assert outcome.steps_lost is None or 0 <= outcome.steps_lost <= training.STEPS


def test_the_table_counts_what_went_wrong():
    good = {"ok": True, "outcome": "went on", "steps_lost": 1, "date": "2026-01-02"}
    bad = {"ok": False, "outcome": "hung", "steps_lost": None, "date": "2026-01-01"}
    (line,) = run.table({"leap": [bad, good, {**good, "steps_lost": 2}]}).splitlines()[2:]
    assert line == "| the likelihood leaps | 3 | 2 | went on | 2 | 2026-01-02 |"
