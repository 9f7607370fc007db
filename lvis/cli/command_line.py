"""The command line, before and after Hydra: values of the wrong kind, and what Hydra says in one sentence."""

import difflib
import re
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from lvis.errors import UserError

# keys whose default is a number and that also take "auto" or a list
_ANY_KIND = ("devices",)
# numbers that also take "auto": lvis.restore estimates them from the measurement
_ESTIMATED = ("noise_std", "sigma")
# keys of before, and what stands for them now
_REPLACED = dict.fromkeys(("final_correction", "correct_result"), "consistency=prox")


def overrides_of(arguments: list[str]) -> list[Override]:
    """The arguments KEY=VALUE as Hydra reads them; none where it cannot, which it then says itself."""
    try:
        return OverridesParser.create().parse_overrides(
            [argument for argument in arguments if not argument.startswith("-")]
        )
    except HydraException:
        return []


def check_kinds(defaults: DictConfig, overrides: list[Override]) -> None:
    """Every value against the kind of its default: a number, true or false, a list or keys of its own.

    Defaults that are text or null say nothing of what may replace them.

    Raises:
        UserError: names the key, its value and what it must be.
    """
    for override in overrides:
        key, value = override.key_or_group, override.value()
        if override.is_add() or override.is_delete() or override.is_sweep_override():
            continue
        name = key.rsplit(".", 1)[-1]
        if value is None or "${" in str(value) or name in _ANY_KIND:
            continue
        if value == "auto" and name in _ESTIMATED:
            continue
        try:
            default = OmegaConf.select(defaults, key)
        except OmegaConfBaseException:  # what it stands for is only known later
            continue
        wanted = _kind(default)
        if wanted is not None and _kind(value) != wanted:
            raise UserError(
                f"{key}={override.get_value_string()} is not {wanted}; give one, such as "
                f"its default {key}={_shown(default)}"
            )


def first_sentence(error: BaseException) -> str:
    """The error in one line: what is unknown with what is known, without where Hydra looked for it."""
    cause = error.__cause__
    text = str(error)
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and "Could not override" in text:
        return _unknown_key(text, cause)
    if isinstance(error, OverrideParseException):
        return (
            f"cannot read {error.override} ({text.splitlines()[0]}); write KEY=VALUE, and a value "
            "with spaces, commas, brackets or = in quotes of its own: KEY='\"VALUE\"'"
        )
    missing = re.search(r"Missing mandatory value: (\S+)", text)
    if missing:
        return f"{missing[1]} is not given; add {missing[1]}=VALUE"
    text = text.split("Config search path:")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    options = [line.strip() for line in text.splitlines() if line.startswith("\t")]
    if options and lines[-len(options) :] == options:
        return " ".join([*lines[: -len(options)], ", ".join(options)])
    return " ".join(lines[:3]) if lines else type(error).__name__


def _unknown_key(text: str, cause: ConfigAttributeError | ConfigKeyError) -> str:
    """Names the first part of the key that does not exist, which need not be its last."""
    found = re.search(r"Could not override '([^']*)'", text)
    full = found[1] if found else str(cause.full_key)
    parent = cause.parent_node
    known = [str(key) for key in parent] if isinstance(parent, DictConfig) else []
    place = str(parent._get_full_key(None)) if isinstance(parent, DictConfig) else ""
    prefix = f"{place}." if place else ""
    rest = full.removeprefix(prefix)
    unknown = prefix + rest.partition(".")[0]
    if full.rpartition(".")[2] in _REPLACED:
        return f"{full} is not a key; set {_REPLACED[full.rpartition('.')[2]]}"
    close = _close(rest.partition(".")[0], known)
    if close:
        *others, last = [prefix + key for key in close]
        return f"{unknown} is not a key; did you mean {', '.join(others)}{' or ' * bool(others)}{last}?"
    shown = ", ".join(sorted(known))
    return f"{unknown} is not a key; {f'{place} has' if place else 'there are'} {shown}"


def _close(key: str, known: list[str]) -> list[str]:
    """The keys that have all of its words in them, or all of theirs in it, or else look like it."""
    words = set(key.split("_"))
    longer = [name for name in known if words <= set(name.split("_"))]
    shorter = [name for name in known if set(name.split("_")) <= words]
    return longer or shorter or difflib.get_close_matches(key, known, n=1)


def _kind(value: Any) -> str | None:
    """None: anything may stand in its place."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, list | tuple) or OmegaConf.is_list(value):
        return "a list"
    if isinstance(value, dict) or OmegaConf.is_dict(value):
        return "a group of keys"
    return None


def _shown(value: Any) -> str:
    text = str(OmegaConf.to_container(value)) if OmegaConf.is_config(value) else str(value)
    return text.lower() if isinstance(value, bool) else text.replace(" ", "")
