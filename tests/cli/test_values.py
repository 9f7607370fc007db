"""Values of a configuration: what fits comes through, everything else is one sentence that names the key."""

from fractions import Fraction

import pytest

from lvis.cli import values
from lvis.errors import UserError


def test_what_fits_comes_through():
    assert values.path("input", "a b.mp4", "a video") == "a b.mp4"
    assert values.optional_path("mask", None) is None
    assert values.whole("seed", 0, 0) == 0 and values.number("share", 1, 0, 1) == 1.0
    assert values.size("size", [480, 832]) == (480, 832)
    assert values.rate("fps", "30000/1001") == Fraction(30000, 1001)
    assert values.rate("fps", 23.976) == Fraction(2997, 125)
    assert values.flag("degrade", False) is False


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        (lambda: values.path("input", None, "a video"), "add input=PATH \\(a video\\)"),
        (lambda: values.path("input", True, "a video"), "input=True is not a path"),
        (lambda: values.flag("degrade", 1), "degrade=1 must be true or false"),
        (lambda: values.whole("seed", True, 0), "seed=True is not a whole number of at least 0"),
        (lambda: values.whole("quality", 52, 0, 51), "from 0 to 51"),
        (lambda: values.number("share", float("nan"), 0, 1), "not a number from 0 to 1"),
        (lambda: values.size("size", [480]), "give size=\\[HEIGHT,WIDTH\\]"),
        (lambda: values.size("size", [True, 2]), "not a size"),
        (lambda: values.rate("fps", "1/0"), "not a frame rate"),
        (lambda: values.one_of("mode", "x", ("a", "b")), "use one of a, b"),
    ],
)
def test_what_does_not_is_one_sentence(check, sentence):
    with pytest.raises(UserError, match=sentence):
        check()
