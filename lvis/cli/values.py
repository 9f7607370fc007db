"""Checks of configuration values, one of each: a value that fails is one sentence with its key and what to give."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from lvis.errors import UserError

HIGHEST_RATE = 1000  # frames per second; beyond it, a number is a clock's


def path(name: str, value: Any, meaning: str) -> str:
    """A path that must be given."""
    found = optional_path(name, value)
    if found is None:
        raise UserError(f"{name} is not given; add {name}=PATH ({meaning})")
    return found


def optional_path(name: str, value: Any) -> str | None:
    """A path, or None."""
    if value is None:
        return None
    if isinstance(value, bool | list | dict) or str(value) == "":
        raise UserError(f"{name}={value} is not a path; give the path of a file or folder")
    return str(value)


def flag(name: str, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise UserError(f"{name}={value} must be true or false")
    return value


def one_of(name: str, value: Any, choices: Sequence[str]) -> str:
    """One of the choices."""
    if value not in choices:
        raise UserError(f"{name}={value} is not known; use one of {', '.join(choices)}")
    return value


def whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    """A whole number of at least `low`, and at most `high`."""
    bad = isinstance(value, bool) or not isinstance(value, int) or value < low
    if bad or (high is not None and value > high):
        bound = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise UserError(f"{name}={value} is not a whole number {bound}; give one")
    return value


def number(name: str, value: Any, low: float, high: float = math.inf) -> float:
    """A number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        bound = f"of at least {low}" if high == math.inf else f"from {low} to {high}"
        raise UserError(f"{name}={value} is not a number {bound}; give one")
    return float(value)


def positive(name: str, value: float) -> float:
    """A number above 0."""
    if not value > 0:
        raise UserError(f"{name}={value} is not positive; give a number above 0")
    return value


def size(name: str, value: Any) -> tuple[int, int]:
    """Height and width in pixels."""
    pair = isinstance(value, list) and len(value) == 2 and all(type(side) is int for side in value)
    if not pair or min(value) < 1:
        raise UserError(f"{name}={value} is not a size; give {name}=[HEIGHT,WIDTH] in pixels")
    return value[0], value[1]


def rate(name: str, value: Any) -> Fraction:
    """Frames per second, above 0 and at most 1000; a number or a fraction as text."""
    try:
        found = Fraction(str(value)).limit_denominator(1_000_000)
    except (ValueError, ZeroDivisionError):
        found = Fraction(0)
    if not 0 < found <= HIGHEST_RATE:
        raise UserError(
            f"{name}={value} is not a frame rate; give frames per second, such as 16 or 30000/1001"
        )
    return found
