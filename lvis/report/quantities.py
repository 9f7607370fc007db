"""How a numeric column of results.jsonl is named, rounded and read: which way is better, in which unit."""

from dataclasses import dataclass, replace

from lvis.metrics.psnr import PSNR
from lvis.metrics.registry import HIGHER, LOWER, METRICS, STREAM, ZERO, Metric
from lvis.metrics.ssim import SSIM

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


_BETTER = {HIGHER: 1, LOWER: -1, ZERO: 0}
# columns of results.jsonl by their key; the families stand for protocols that the registry does not have
_METRICS = {metric.key: metric for metric in METRICS.values()} | METRICS
_FAMILIES = {
    name: METRICS[member]
    for name, member in (
        ("psnr", PSNR),
        ("ssim", SSIM),
        ("lpips", "lpips_alex"),
        ("fid", "fid_inception_every5"),
        ("fvd", "fvd_i3d_16f"),
        ("residual", "residual_rms"),
        ("measurement_residual", "residual_rms"),
        ("peak_memory", "peak_memory_growth"),
    )
}
# what is counted and not a metric
_COUNTS = (
    Quantity("memory", "Memory", "", 1, -1, True),
    Quantity("passes", "Passes per frame,", "", 2, -1, True),
)


def quantity(name: str) -> Quantity:
    """What is known of a column; of one that is new here, its name and no direction."""
    if name in _METRICS:
        return _of(_METRICS[name], name, _METRICS[name].title)
    for family, metric in _FAMILIES.items():
        if _belongs(name, family):
            title = metric.title.partition(",")[0] + name.removeprefix(family).replace("_", " ")
            return _of(metric, name, title)
    for known in _COUNTS:
        if _belongs(name, known.name):
            title = known.title + name.removeprefix(known.name).replace("_", " ")
            return replace(known, name=name, title=title)
    return Quantity(name, name.replace("_", " "))


def is_known(name: str) -> bool:
    families = (*_FAMILIES, *(known.name for known in _COUNTS))
    return name in _METRICS or any(_belongs(name, family) for family in families)


def _of(metric: Metric, name: str, title: str) -> Quantity:
    better, zero = _BETTER[metric.direction], metric.direction == ZERO
    speed = metric.of == STREAM
    return Quantity(name, title, metric.unit, metric.digits, better, speed, zero)


def _belongs(name: str, family: str) -> bool:
    return name == family or name.startswith(f"{family}_")
