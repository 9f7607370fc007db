"""Types and ranges of configuration values, as schemas (pydantic), with what does not fit as one sentence."""

import inspect
import math
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, TypeVar

from hydra._internal.utils import _locate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    TypeAdapter,
    ValidationError,
)

from lvis.cli import values
from lvis.errors import UserError

Schema = TypeVar("Schema", bound=BaseModel)


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number, and not true or false")
    return value


Whole = Annotated[int, BeforeValidator(_no_bool)]  # 2.0 is 2, true is nothing
Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_no_bool)]
Count = Annotated[Whole, Field(ge=1)]
CountOrNone = Annotated[Whole, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Flag = StrictBool
Seed = Annotated[Whole, Field(ge=0, lt=2**63)]


def checked_by(check: Callable[[str, Any], Any], key: str) -> BeforeValidator:
    """For a value, or None, that is read by a check of `lvis.cli.values` and has its sentence."""
    return BeforeValidator(lambda value: None if value is None else check(key, value))


def path_of(key: str, meaning: str) -> BeforeValidator:
    """For a path that must be given."""
    return BeforeValidator(lambda value: values.path(key, value, meaning))


_KINDS = {
    "finite": "a finite number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
}
_OF_A_CALL = ConfigDict(coerce_numbers_to_str=True)


class Keys(BaseModel):
    """A group of a configuration; keys that it does not name belong to others."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


def conform(schema: type[Schema], node: DictConfig, prefix: str) -> Schema:
    """The values of `node` as `schema` has them; they are also put back, so that 2.0 is 2 for all who read them.

    Raises:
        UserError: the first value that does not fit, by key, value and what would.
    """
    content = OmegaConf.to_container(node, resolve=True)
    assert isinstance(content, dict)
    known = {str(key): value for key, value in content.items()}
    found = validated(schema, known, prefix)
    for name in schema.model_fields:
        if name in known:
            _put(node, name, known[name], getattr(found, name))
    return found


def validated(schema: type[Schema], content: Mapping[str, Any], prefix: str = "") -> Schema:
    """Plain keys as `schema` has them.

    Raises:
        UserError: as `conform`.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise misfit(error, prefix, content) from None


def misfit(error: ValidationError, prefix: str, content: Mapping[str, Any]) -> UserError:
    """The first value that does not fit: its key, its value and what would."""
    first = error.errors()[0]
    key, value = "", content
    for part in first["loc"]:
        # an alias leads into groups; what follows the key is a place in its value
        if not isinstance(part, str) or not isinstance(value, Mapping):
            break
        key, value = f"{key}.{part}".lstrip("."), value.get(part)  # type: ignore[assignment]
    full = f"{prefix}.{key}" if prefix else key
    if first["type"] == "missing" and len(first["loc"]) == 1:
        return UserError(f"{full} is not given; add {full}=VALUE")
    return UserError(f"{full}={shown(value)} {_fix(error)}")


def shown(value: Any) -> str:
    """A value as a command line has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(shown, value))}]"
    return str(value)


def _fix(error: ValidationError) -> str:
    first = error.errors()[0]
    kinds = {one["type"] for one in error.errors()}
    if any(kind.startswith("int") for kind in kinds):
        return "must be a whole number, such as 2"
    if first["type"] == "missing":
        return "has too few values"
    for kind, name in _KINDS.items():
        if first["type"].startswith(kind):
            return f"must be {name}"
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return reason.replace("should", "must", 1)


def check_finite(cfg: DictConfig) -> None:
    """No number of a composed configuration is nan or infinite.

    Raises:
        UserError: one is, by its key.
    """
    for key, value in _leaves(OmegaConf.to_container(cfg, resolve=False), ""):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{key}={value} is not a finite number; give one")


def check_targets(node: Any) -> None:
    """Every value below `node` against the type that the constructor of its `_target_` declares.

    Values that only have another spelling (2.0 for a whole number) are put right.

    Raises:
        UserError: one that does not fit, by its key, value and what would.
    """
    if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
        if "_target_" in node and isinstance(node.get("_target_"), str):
            _check_call(node)
        for key in node:
            _descend(node, key)
    elif isinstance(node, ListConfig) and not node._is_none() and not node._is_missing():
        for place in range(len(node)):
            _descend(node, place)


def _descend(node: Any, key: Any) -> None:
    try:
        check_targets(node[key])
    except OmegaConfBaseException:  # not given, or known only later
        return


def _check_call(node: DictConfig) -> None:
    hints = _hints(str(node["_target_"]))
    for key in node:
        name = str(key)
        try:
            child = node[key]
        except OmegaConfBaseException:
            continue
        if name not in hints or isinstance(child, DictConfig):
            continue
        value = OmegaConf.to_container(child) if isinstance(child, ListConfig) else child
        try:
            fitted = hints[name].validate_python(value)
        except ValidationError as error:
            full = node._get_full_key(name) or name
            raise UserError(f"{full}={shown(value)} {_fix(error)}") from None
        _put(node, name, value, fitted)


@cache
def _hints(target: str) -> dict[str, TypeAdapter[Any]]:
    """By parameter of what `target` names: what checks its values; types that say nothing are left out."""
    try:
        called = _locate(target)
        found = typing.get_type_hints(called.__init__ if inspect.isclass(called) else called)
    except Exception:  # instantiating it will say what is wrong with it
        return {}
    return {
        name: TypeAdapter(hint, config=_OF_A_CALL) for name, hint in found.items() if _plain(hint)
    }


def _plain(hint: Any) -> bool:
    """Whether a type is made of what a configuration can hold."""
    if hint in (int, float, bool, str, type(None)):
        return True
    arguments = [one for one in typing.get_args(hint) if one is not Ellipsis]
    return bool(arguments) and all(_plain(one) for one in arguments)


def _put(node: DictConfig, name: str, before: Any, after: Any) -> None:
    """Put a scalar of another type back in its place."""
    if type(before) is not type(after) and isinstance(after, int | float | str):
        OmegaConf.update(node, name, after, force_add=True)


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, key)
    else:
        yield key, value
