"""What a row was made with: settings, code and machine."""

import hashlib
import json
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lvis.demo.facts import facts
from lvis.evaluate.contents import contents

# where a run writes and which share of the clips it takes change no number
_NO_SETTINGS = ("output", "process", "compare_with", "confidence")
# what a clip's numbers follow from, its own name and size apart
_OF_A_ROW = ("solver", "assumed", "prompt", "protocol", "metric_weights", "precision")


def digest(settings: Any) -> str:
    """The first 12 digits of the sha256 of settings as JSON."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def config_digest(settings: dict[str, Any]) -> str:
    """Of the full configuration, but for where a run writes and which share it takes."""
    return digest({key: value for key, value in settings.items() if key not in _NO_SETTINGS})


def row_digest(settings: dict[str, Any]) -> str:
    """Of what the numbers of one clip follow from: rows with another are computed again.

    A path counts with what it holds now: weights that were trained on, or a mask that was drawn again, are others.
    """
    wanted = {key: settings.get(key) for key in _OF_A_ROW}
    wanted["operator"] = settings["task"]["operator"]
    return digest({**wanted, "contents": contents(wanted)})


@cache
def code_version() -> str:
    """The git commit that this package lies in, with "+" if files differ from it; else its version."""
    folder = Path(__file__).resolve().parent
    try:
        inside = _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except OSError:
        inside = commit = changed = None
    # an installed copy inside somebody else's repository is not of that repository's commit
    if inside and commit:
        return commit + ("+" if changed else "")
    try:
        return version("lvis")
    except PackageNotFoundError:
        return "unknown"


def today() -> str:
    """The day, as in 2026-11-21, in UTC."""
    return datetime.now(UTC).date().isoformat()


@cache
def machine() -> str:
    """Processor, GPU and versions, in one line."""
    return "; ".join(f"{name} {value}" for name, value in facts().items())


def _git(folder: Path, *arguments: str) -> str | None:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None
