"""What came of a fault."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

USER_ERROR = 2


@dataclass(frozen=True)
class Outcome:
    """What came of a fault: in words, and the training steps that had to be done again.

    None where no step had been done that could be lost.
    """

    words: str
    steps_lost: int | None


Scenario = Callable[[Path, Path], Outcome]
