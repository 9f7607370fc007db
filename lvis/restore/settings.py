"""The keys of conf/restore.yaml, checked once, each with the fix in its error."""

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasPath, BeforeValidator, Field

from lvis.cli import values
from lvis.cli.schema import Count, Flag, Keys, Seed, Whole, checked_by, path_of, validated
from lvis.data.video import check_output_name
from lvis.errors import UserError
from lvis.files import check_free, check_place

Size = tuple[int, int]
INPUT = "a video, a folder of frames, or - for raw frames on standard input"
OUTPUT = "a .mp4 or .mkv file, a folder, or - for raw frames on standard output"


class Settings(Keys):
    """What to restore, from where to where; see conf/restore.yaml for what each key means."""

    input: Annotated[str, path_of("input", INPUT)]
    output: Annotated[str, path_of("output", OUTPUT)]
    degrade: Flag
    compare: Flag
    overwrite: Flag
    deinterlace: Flag
    save_measurement: Annotated[str | None, checked_by(values.optional_path, "save_measurement")]
    report: Annotated[str | None, checked_by(values.optional_path, "report")]
    mask: Annotated[str | None, checked_by(values.optional_path, "mask")]
    size: Annotated[Size | None, checked_by(values.size, "size")]
    prompt: Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
    seed: Seed
    quality: Annotated[Whole, Field(ge=0, le=51)]
    max_pixels: Annotated[Count, Field(lt=2**31)]
    raw_size: Annotated[Size | None, checked_by(values.size, "raw.size")] = Field(
        validation_alias=AliasPath("raw", "size")
    )
    raw_rate: Annotated[Fraction | None, checked_by(values.rate, "raw.rate")] = Field(
        validation_alias=AliasPath("raw", "rate")
    )

    @classmethod
    def of(cls, keys: dict[str, Any]) -> "Settings":
        """From the composed configuration as plain dicts.

        Raises:
            UserError: a key that is missing, of the wrong type, or at odds with another.
        """
        settings = validated(cls, keys)
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
