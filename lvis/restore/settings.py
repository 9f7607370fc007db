"""The keys of conf/restore.yaml, checked once, each with the fix in its error."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from lvis.cli import values
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
            input=values.path(
                "input",
                keys["input"],
                "a video, a folder of frames, or - for raw frames on standard input",
            ),
            output=values.path(
                "output",
                keys["output"],
                "a .mp4 or .mkv file, a folder, or - for raw frames on standard output",
            ),
            degrade=values.flag("degrade", keys["degrade"]),
            compare=values.flag("compare", keys["compare"]),
            overwrite=values.flag("overwrite", keys["overwrite"]),
            deinterlace=values.flag("deinterlace", keys["deinterlace"]),
            save_measurement=values.optional_path("save_measurement", keys["save_measurement"]),
            report=values.optional_path("report", keys["report"]),
            mask=values.optional_path("mask", keys["mask"]),
            size=None if keys["size"] is None else values.size("size", keys["size"]),
            prompt="" if keys["prompt"] is None else str(keys["prompt"]),
            seed=values.whole("seed", keys["seed"], 0, 2**63 - 1),
            quality=values.whole("quality", keys["quality"], 0, 51),
            max_pixels=values.whole("max_pixels", keys["max_pixels"], 1, 2**31 - 1),
            raw_size=None if raw["size"] is None else values.size("raw.size", raw["size"]),
            raw_rate=None if raw["rate"] is None else values.rate("raw.rate", raw["rate"]),
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
                "compare=true writes a file beside the output; give output=FILE instead of output=-"
            )
        if self.save_measurement == "-":
            raise UserError("save_measurement=- is not possible; give a file or a folder")
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
    """Where a saved measurement's mask goes: beside it; lossless video for one mask per frame."""
    path = Path(measurement)
    return str(path.with_name(f"{path.stem}_mask{'.mkv' if video else '.png'}"))
