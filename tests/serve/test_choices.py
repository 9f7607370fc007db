"""What a visitor may ask for, and that nothing else gets through to Hydra, a file or a log."""

import pytest

from lvis.cli.config import compose
from lvis.errors import UserError
from lvis.serve.choices import Choice

from .conftest import settings_of

GOOD = {"clip": "x", "task": "deblur", "solver": "pinv"}


def test_parameters_of_composed_tasks_reach_their_operator(menu):
    choice = Choice.of({**GOOD, "task": "sr_plus", "parameters": {"inner.window": 5}}, menu)
    assert compose("restore", choice.overrides(menu)).task.operator.inner.window == 5


def test_strength_reaches_its_solver(menu):
    choice = Choice.of({**GOOD, "solver": "student", "strength": 0}, menu)
    assert compose("restore", choice.overrides(menu)).solver.strength == 0
    choice = Choice.of({**GOOD, "solver": "vision_xl", "strength": 0.5}, menu)
    assert compose("restore", choice.overrides(menu)).solver.tau == 0.5


def test_tasks_for_training_or_with_own_code_are_not_offered(menu):
    assert not {"any", "own"} & set(menu.tasks)
    assert {"deblur", "inpaint", "unknown"} <= set(menu.tasks)


def test_the_page_has_the_default_model_of_the_command(menu):
    assert compose("serve").model.name == compose("restore").model.name
    assert not any("model" in word for word in Choice.of(GOOD, menu).overrides(menu))


def test_defaults_leave_the_command_short(menu):
    given = {parameter.key: parameter.default for parameter in menu.tasks["deblur"]}
    choice = Choice.of({**GOOD, "parameters": given, "degrade": False}, menu)
    assert choice.overrides(menu) == ["task=deblur", "solver=pinv"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"task": "own"}, "task='own' is not offered"),
        ({"task": "../deblur"}, "not offered"),
        ({"task": ["deblur"]}, "not offered"),
        ({"solver": "dps"}, "solver='dps' is not offered"),
        ({"parameters": {"sigma": "3 hydra.run.dir=x"}}, "is not a number"),
        ({"parameters": {"sigma": float("nan")}}, "is not a number"),
        ({"parameters": {"sigma": 400}}, "from 0.3 to 10"),
        ({"parameters": {"mask": 3}}, "has no parameter 'mask'"),
        ({"parameters": [3]}, "not names with numbers"),
        ({"side": 100000}, "not offered"),
        ({"degrade": "yes"}, "neither true nor false"),
        ({"prompt": "x" * 501}, "longer than 500"),
        ({"clip": {"path": "x"}}, "not the name of a clip"),
    ],
)
def test_what_is_not_on_the_menu_is_refused(menu, change, reason):
    with pytest.raises(UserError, match=reason):
        Choice.of(GOOD | change, menu)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"host": "0.0.0.0"}, "token=auto"),
        ({"host": "192.168.1.5"}, "token=auto"),
        ({"token": "short"}, "too short"),
        ({"token": 1234567890123456}, "too short"),
        ({"port": 70000}, "port=70000 must be less than or equal to 65535"),
        ({"max_sessions": 0}, "max_sessions=0"),
        ({"workers": 1.5}, "workers=1.5"),
        ({"sample_size": [10, 10]}, "sample_size"),
        ({"solvers": "student"}, "solvers=student must be a list"),
    ],
)
def test_settings_out_of_range_name_their_key(keys, reason):
    with pytest.raises(UserError, match=reason):
        settings_of(**keys)


def test_an_open_address_with_a_token_is_allowed():
    assert settings_of(host="0.0.0.0", token="auto").token
    assert settings_of(host="::1").token is None
