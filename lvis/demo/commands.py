"""The commands that the demo runs and shows: one list of overrides, composed and printed."""

import re
import shlex
from pathlib import Path

PLAIN = re.compile(r"[\w./:+-]+")


def override(key: str, value: str | int | Path) -> str:
    """`key=value` in Hydra's grammar, quoted unless the value is letters, digits and ./:+-."""
    text = str(value)
    if PLAIN.fullmatch(text):
        return f"{key}={text}"
    # a backslash is only special before a quote
    escaped = re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), text)
    return f"{key}='{escaped}'"


def shell_command(module: str, overrides: list[str]) -> str:
    """What to type for it."""
    return shlex.join(["python", "-m", module, *overrides])
