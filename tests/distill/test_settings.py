import dataclasses

import pytest

from lvis.cli.config import compose, plain
from lvis.distill.settings import FINAL_RATE, Settings
from lvis.errors import UserError


@pytest.fixture
def paper() -> Settings:
    values = plain(compose("train", ["distill=paper", "output=out"]).distill)
    return Settings.of(values, seed=0)


def test_the_paper_rate_is_fixed_and_a_decaying_one_ends_low(paper):
    assert paper.student_rate(0) == paper.student_rate(10**6) == 2e-6
    decaying = dataclasses.replace(paper, decay_steps=100)
    rates = [decaying.student_rate(step) for step in range(0, 201, 10)]
    assert rates[0] == 2e-6
    assert rates[:11] == sorted(rates[:11], reverse=True)
    assert rates[10] == rates[-1] == pytest.approx(FINAL_RATE * 2e-6)


def test_a_value_out_of_range_is_named(paper):
    with pytest.raises(UserError, match="distill.decay_steps=0"):
        Settings.of(dataclasses.asdict(paper), decay_steps=0)
