"""The keys of conf/restore.yaml, checked once, each with the way out in its error."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from lvis.data.video import check_output_name
from lvis.errors import UserError
from lvis.files import check_free, check_place


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to restore, from where to where; see conf/restore.yaml for what each key means.

    Raises:
        UserError: a key that is missing, of the wrong type, or at odds with another.
    """

    input: str
    output: str
    degrade: bool
    compare: bool
    overwrite: bool
    deinterlace: bool
    save_measurement: str | None
    report: str | None
    mask: str | None
    size: tuple[int, int] | None
    prompt: str
    seed: int
    quality: int
    max_pixels: int
    raw_size: tuple[int, int] | None
    raw_rate: Fraction | None

    @classmethod
    def of(cls, keys: dict[str, Any]) -> "Settings":
        """From the composed configuration as plain dicts."""
        raw = keys["raw"]
        settings = cls(
            input=_path(
                keys, "input", "a video, a folder of frames, or - for raw frames on standard input"
            ),
            output=_path(
                keys,
                "output",
                "a .mp4 or .mkv file, a folder, or - for raw frames on standard output",
            ),
            degrade=_flag(keys, "degrade"),
            compare=_flag(keys, "compare"),
            overwrite=_flag(keys, "overwrite"),
            deinterlace=_flag(keys, "deinterlace"),
            save_measurement=_optional_path(keys, "save_measurement"),
            report=_optional_path(keys, "report"),
            mask=_optional_path(keys, "mask"),
            size=_size(keys["size"], "size"),
            prompt=_text(keys["prompt"]),
            seed=_whole(keys, "seed", 0, 2**63 - 1),
            quality=_whole(keys, "quality", 0, 51),
            max_pixels=_whole(keys, "max_pixels", 1, 2**31 - 1),
            raw_size=_size(raw["size"], "raw.size"),
            raw_rate=_rate(raw["rate"]),
        )
        settings._check_together()
        return settings

    @property
    def comparison(self) -> str:
        """Where compare=true writes: beside the output, with _compare before the suffix."""
        path = Path(self.output)
        return str(path.with_name(f"{path.stem}_compare{path.suffix}"))

    def outputs(self) -> list[str]:
        """Every video this run writes."""
        more = [self.comparison] if self.compare else []
        return [self.output, *more, *([self.save_measurement] if self.save_measurement else [])]

    def _check_together(self) -> None:
        for name in ("save_measurement", "size"):
            if getattr(self, name) and not self.degrade:
                raise UserError(f"{name} is for clean clips; add degrade=true or leave {name} out")
        if self.report and not self.degrade:
            raise UserError(
                "report needs something to compare with; add degrade=true or leave report out"
            )
        if self.compare and self.output == "-":
            raise UserError(
                "compare=true needs a name to go beside; give output=FILE in place of output=-"
            )
        if self.save_measurement == "-":
            raise UserError("save_measurement=- has no place; give a file or a folder")
        if self.raw_size and self.input != "-":
            raise UserError("raw.size is for raw frames; give input=- or leave raw.size out")
        if self.raw_rate and self.input != "-" and Path(self.input).is_file():
            raise UserError(
                f"raw.rate is for raw frames and folders, and {self.input} is a file with a rate "
                "of its own; leave raw.rate out"
            )
        if self.report:
            check_place(self.report)
            check_free(self.report, self.overwrite)
        given = [path for path in (self.input, self.mask, self.report) if path and path != "-"]
        taken = {Path(path).resolve() for path in given}
        for path in self.outputs():
            check_output_name(path)
            if path != "-" and Path(path).resolve() in taken:
                raise UserError(
                    f"{path} is both read and written, or written twice; name another output"
                )
            taken.add(Path(path).resolve())
            check_free(path, self.overwrite)
        for video in (True, False):
            if self.save_measurement:
                check_free(mask_path(self.save_measurement, video), self.overwrite)


def mask_path(measurement: str, video: bool) -> str:
    """Where a saved measurement's mask goes: beside it; lossless video for a mask a frame."""
    path = Path(measurement)
    return str(path.with_name(f"{path.stem}_mask{'.mkv' if video else '.png'}"))


def _path(keys: dict[str, Any], name: str, meaning: str) -> str:
    path = _optional_path(keys, name)
    if path is None:
        raise UserError(f"{name} is not given; add {name}=PATH ({meaning})")
    return path


def _optional_path(keys: dict[str, Any], name: str) -> str | None:
    value = keys[name]
    if value is None:
        return None
    if isinstance(value, bool | list | dict) or str(value) == "":
        raise UserError(f"{name}={value} is not a path; give the path of a file or folder")
    return str(value)


def _flag(keys: dict[str, Any], name: str) -> bool:
    if not isinstance(keys[name], bool):
        raise UserError(f"{name}={keys[name]} must be true or false")
    return keys[name]


def _whole(keys: dict[str, Any], name: str, low: int, high: int) -> int:
    value = keys[name]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UserError(f"{name}={value} is not a whole number from {low} to {high}; give one")
    return value


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _size(value: Any, name: str) -> tuple[int, int] | None:
    if value is None:
        return None
    whole = isinstance(value, list) and len(value) == 2 and all(type(side) is int for side in value)
    if not whole or min(value) < 1:
        raise UserError(f"{name}={value} is not a size; give {name}=[HEIGHT,WIDTH] in pixels")
    return value[0], value[1]


def _rate(value: Any) -> Fraction | None:
    if value is None:
        return None
    try:
        rate = Fraction(str(value)).limit_denominator(1_000_000)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise UserError(
            f"raw.rate={value} is not a frame rate; give frames per second, such as 25 or 30000/1001"
        )
    return rate
