"""How a numeric column of results.jsonl is named, rounded and read: which way is better, in which unit."""

from dataclasses import dataclass, replace

RATE = "frames_per_second"


@dataclass(frozen=True)
class Quantity:
    """A column. `better` is +1 (higher), -1 (lower) or 0 (unknown); `speed` marks what is no quality.

    `zero` is for what is best at zero, on neither side of it; `better` is 0 there.
    """

    name: str
    title: str
    unit: str = ""
    digits: int = 3
    better: int = 0
    speed: bool = False
    zero: bool = False

    @property
    def heading(self) -> str:
        arrow = " →\u00a00" if self.zero else {1: " ↑", -1: " ↓", 0: ""}[self.better]
        return self.title + (f" ({self.unit})" if self.unit else "") + arrow

    def score(self, mean: float) -> float:
        """Higher where `mean` is better; 0 where nobody knows."""
        return -abs(mean) if self.zero else self.better * mean

    def digits_of(self, value: float) -> int:
        """Digits after the point: those of the column, none of a thousand and more."""
        return 0 if abs(value) >= 1000 else self.digits

    def show(self, value: float) -> str:
        return f"{value:.{self.digits_of(value)}f}"


# by the first part of the name, as a protocol follows it (lpips_vgg_224)
_KNOWN = (
    Quantity("psnr", "PSNR", "dB", 2, +1),
    Quantity("ssim", "SSIM", "", 3, +1),
    Quantity("lpips", "LPIPS", "", 3, -1),
    Quantity("fid", "FID", "", 1, -1),
    Quantity("fvd", "FVD", "", 1, -1),
    Quantity("residual", "Residual", "", 4, -1),
    Quantity("measurement_residual", "Residual", "", 4, -1),
    Quantity("frame_difference_error", "Frame difference error", "", 4, -1),
    Quantity("flicker_high_band", "Flicker", "dB", 2, zero=True),
    Quantity("residual_rms", "Residual", "", 4, -1),
    Quantity("peak_memory_cuda", "Peak memory, GPU", "GiB", 2, -1, True),
    Quantity("peak_memory_growth", "Peak memory, CPU", "GiB", 2, -1, True),
    Quantity(RATE, "Frames/s", "", 1, +1, True),
    Quantity("time_to_first_frame", "First frame", "s", 3, -1, True),
    Quantity("seconds", "Seconds", "s", 2, -1, True),
    Quantity("memory", "Memory", "", 1, -1, True),
    Quantity("peak_memory", "Peak memory", "GiB", 2, -1, True),
    Quantity("passes", "Passes a frame,", "", 2, -1, True),
)


def quantity(name: str) -> Quantity:
    """What is known of a column; of one that is new here, its name and no direction."""
    for known in sorted(_KNOWN, key=lambda q: -len(q.name)):
        if name == known.name:
            return known
        if name.startswith(f"{known.name}_"):
            protocol = name.removeprefix(f"{known.name}_").replace("_", " ")
            title = f"{known.title} {protocol}"
            return replace(known, name=name, title=title)
    return Quantity(name, name.replace("_", " "))


def is_known(name: str) -> bool:
    return any(name == q.name or name.startswith(f"{q.name}_") for q in _KNOWN)
