"""Are all the weights there? Asked before anything is built, answered in one sentence."""

from collections.abc import Mapping
from typing import Any

from lvis.errors import UserError
from lvis.weights.resolve import LEAN_VAE, TAE, TEXT_ENCODER, TRANSFORMER, WAN_VAE, resolve

_KINDS = {
    "load_transformer": TRANSFORMER,
    "load_student": TRANSFORMER,
    "load_wan_vae": WAN_VAE,
    "load_lean_vae": LEAN_VAE,
    "load_tae": TAE,
    "load_text_encoder": TEXT_ENCODER,
}


def require(parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that the weights of every part can be had, downloading what the hub gives.

    Args:
        parts: the configuration key of a part -> its node, as {"model.teacher": cfg.model.teacher};
            nodes without a loader of ours, and those with random weights, are skipped.

    Raises:
        UserError: one sentence that names every part whose weights are missing, and the way out.
    """
    missing: dict[str, UserError] = {}
    for key, node in parts.items():
        kind = _KINDS.get(str(node.get("_target_", "")).rpartition(".")[2])
        if kind is None or node.get("weights") == "random":
            continue
        try:
            resolve(node["source"], kind)
        except UserError as error:
            missing[key] = error
    if len(missing) == 1:
        key, cause = next(iter(missing.items()))
        raise UserError(f"the weights of {key} are missing: {cause} ({key}.source=...)") from cause
    if missing:
        named = ", ".join(f"{key} ({parts[key]['source']})" for key in missing)
        raise UserError(
            f"the weights of {len(missing)} parts are missing: {named}; run once where the hub can "
            f"be reached, or give folders that hold them, as in {next(iter(missing))}.source=FOLDER"
        )
