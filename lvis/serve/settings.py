"""The keys of conf/serve.yaml, checked once, each with the fix in its error."""

import ipaddress
import re
import secrets
from dataclasses import dataclass
from typing import Any

from lvis.cli import values
from lvis.errors import UserError

SHORTEST_TOKEN = 16
_TOKEN = re.compile(rf"[A-Za-z0-9_-]{{{SHORTEST_TOKEN},256}}")


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Where to listen, whom to let in, and how much one visitor may ask for; see conf/serve.yaml.

    `passed_on` are the overrides (model, vae, device, precision) that every restoration gets.

    Raises:
        UserError: a key of the wrong type or range, or an open address without a token.
    """

    host: str
    port: int
    token: str | None
    browser: bool
    max_sessions: int
    max_waiting: int
    workers: int
    turn_seconds: float
    keep_seconds: float
    max_upload: int
    max_seconds: float
    max_pixels: int
    max_clips: int
    solvers: tuple[str, ...]
    sample_size: tuple[int, int]
    sample_frames: int
    seed: int
    passed_on: tuple[str, ...] = ()

    @classmethod
    def of(cls, keys: dict[str, Any], passed_on: tuple[str, ...] = ()) -> "ServeSettings":
        """From the composed configuration as plain dicts."""
        host = str(keys["host"])
        return cls(
            host=host,
            port=values.whole("port", keys["port"], 0, 65535),
            token=_token(keys["token"], host),
            browser=values.flag("browser", keys["browser"]),
            max_sessions=values.whole("max_sessions", keys["max_sessions"], 1, 1000),
            max_waiting=values.whole("max_waiting", keys["max_waiting"], 0, 10_000),
            workers=values.whole("workers", keys["workers"], 1, 64),
            turn_seconds=values.number("turn_seconds", keys["turn_seconds"], 1, 86_400),
            keep_seconds=values.number("keep_seconds", keys["keep_seconds"], 0, 86_400),
            max_upload=values.whole("max_upload", keys["max_upload"], 1, 2**40),
            max_seconds=values.number("max_seconds", keys["max_seconds"], 0.1, 86_400),
            max_pixels=values.whole("max_pixels", keys["max_pixels"], 256, 2**31 - 1),
            max_clips=values.whole("max_clips", keys["max_clips"], 1, 10_000),
            solvers=_names(keys, "solvers"),
            sample_size=_sides(keys, "sample_size"),
            sample_frames=values.whole("sample_frames", keys["sample_frames"], 1, 1000),
            seed=values.whole("seed", keys["seed"], 0, 2**63 - 1),
            passed_on=passed_on,
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token(value: Any, host: str) -> str | None:
    if value is None:
        if not is_loopback(host):
            raise UserError(
                f"host={host} can be reached from other machines; add token=auto, or token= with "
                f"{SHORTEST_TOKEN} or more letters and digits, for visitors to present"
            )
        return None
    if value == "auto":
        return secrets.token_urlsafe(24)
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise UserError(
            f"the token is too short or has characters other than A-Z a-z 0-9 - _; give "
            f"{SHORTEST_TOKEN} or more of those, or token=auto"
        )
    return value


def _names(keys: dict[str, Any], name: str) -> tuple[str, ...]:
    value = keys[name]
    if not isinstance(value, list) or not value or not all(isinstance(n, str) for n in value):
        raise UserError(
            f"{name}={value} is not a list of names; give one or more, as [student,pinv]"
        )
    return tuple(value)


def _sides(keys: dict[str, Any], name: str) -> tuple[int, int]:
    sides = values.size(name, keys[name])
    if not 32 <= min(sides) <= max(sides) <= 2048:
        raise UserError(f"{name}={keys[name]} is out of range; give 32 to 2048 pixels each")
    return sides
