"""The keys of conf/serve.yaml, checked once, each with the fix in its error."""

import ipaddress
import re
import secrets
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from lvis.cli.schema import Count, Flag, Keys, Number, Seed, Whole, validated
from lvis.errors import UserError

SHORTEST_TOKEN = 16
_TOKEN = re.compile(rf"[A-Za-z0-9_-]{{{SHORTEST_TOKEN},256}}")
DAY = 86_400  # seconds

Side = Annotated[Whole, Field(ge=32, le=2048)]


class ServeSettings(Keys):
    """Where to listen, whom to let in, and how much one visitor may ask for; see conf/serve.yaml.

    `passed_on` are the overrides (model, vae, device, precision) that every restoration gets.
    """

    host: str
    port: Annotated[Whole, Field(ge=0, le=65535)]
    token: str | None
    browser: Flag
    max_sessions: Annotated[Count, Field(le=1000)]
    max_waiting: Annotated[Whole, Field(ge=0, le=10_000)]
    workers: Annotated[Count, Field(le=64)]
    turn_seconds: Annotated[Number, Field(ge=1, le=DAY)]
    keep_seconds: Annotated[Number, Field(ge=0, le=DAY)]
    max_upload: Annotated[Count, Field(le=2**40)]
    max_seconds: Annotated[Number, Field(ge=0.1, le=DAY)]
    max_pixels: Annotated[Whole, Field(ge=256, lt=2**31)]
    max_clips: Annotated[Count, Field(le=10_000)]
    solvers: Annotated[tuple[str, ...], Field(min_length=1)]
    sample_size: tuple[Side, Side]
    sample_frames: Annotated[Count, Field(le=1000)]
    seed: Seed
    passed_on: tuple[str, ...] = ()

    @field_validator("token", mode="before")
    @classmethod
    def _checked(cls, token: Any, info: ValidationInfo) -> str | None:
        return _token(token, info.data["host"])

    @classmethod
    def of(cls, keys: dict[str, Any], passed_on: tuple[str, ...] = ()) -> "ServeSettings":
        """From the composed configuration as plain dicts.

        Raises:
            UserError: a key of the wrong type or range, or an open address without a token.
        """
        return validated(cls, {**keys, "passed_on": passed_on})


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
