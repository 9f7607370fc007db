"""What a row was made with: digests of its settings (`lvis.provenance` has the code and the machine)."""

import hashlib
import json
from typing import Any

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
