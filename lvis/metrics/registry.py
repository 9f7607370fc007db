"""Every metric by name: what it is, which way is better, its range and unit.

A name says the protocol, because numbers of different protocols are not comparable.
"""

from dataclasses import dataclass

from lvis.errors import UserError
from lvis.metrics.psnr import LIMIT, PSNR
from lvis.metrics.ssim import SSIM

HIGHER, LOWER, ZERO = "higher", "lower", "zero"
CLIP, SET, STREAM = "clip", "set", "stream"
INFINITY = float("inf")


@dataclass(frozen=True)
class Metric:
    """One metric under one protocol.

    Attributes:
        name: with the protocol in it.
        title: for people; no two metrics share one.
        direction: which values are better: "higher", "lower", nearest "zero", or "" (unknown).
        low, high: the range.
        unit: "" for pure numbers.
        of: "clip" (one number per clip), "set" (one per set of clips), or "stream" (of the clock).
        network: the part of `metric_weights` it needs; None where the mathematics is all.
        key: its column in results.jsonl.
        decimals: digits after the point; None is what suits the unit.
    """

    name: str
    title: str
    direction: str
    low: float
    high: float
    unit: str = ""
    of: str = CLIP
    network: str | None = None
    column: str | None = None
    decimals: int | None = None

    @property
    def key(self) -> str:
        return self.column or self.name

    @property
    def digits(self) -> int:
        """Digits after the point that a table shows."""
        if self.decimals is not None:
            return self.decimals
        by_unit = {"dB": 2, "GiB": 2, "1/s": 1}
        if self.unit in by_unit or self.of == SET:
            return by_unit.get(self.unit, 2)
        return 4 if self.unit.startswith("of ") else 3

    @property
    def arrow(self) -> str:
        return {HIGHER: "↑", LOWER: "↓", ZERO: "→\u00a00"}.get(self.direction, "")

    @property
    def heading(self) -> str:
        """The name, which states the protocol, with unit and direction."""
        return self._headed(self.name)

    @property
    def caption(self) -> str:
        """The title, with unit and direction."""
        return self._headed(self.title)

    @property
    def is_speed(self) -> bool:
        """Whether it is a cost and not a quality."""
        return self.of == STREAM

    @property
    def better(self) -> int:
        """+1 (higher), -1 (lower), or 0 (nearest zero, or unknown)."""
        return {HIGHER: 1, LOWER: -1}.get(self.direction, 0)

    def score(self, mean: float) -> float:
        """Higher where `mean` is better; 0 where the direction is unknown."""
        return -abs(mean) if self.direction == ZERO else self.better * mean

    def digits_of(self, value: float) -> int:
        """Digits after the point: those of the column, none of a thousand and more."""
        return 0 if abs(value) >= 1000 else self.digits

    def show(self, value: float) -> str:
        return f"{value:.{self.digits_of(value)}f}"

    def _headed(self, text: str) -> str:
        unit = f" ({self.unit})" if self.unit else ""
        return f"{text}{unit} {self.arrow}".rstrip()


VBENCH_DIMENSIONS = (
    "subject_consistency",
    "background_consistency",
    "motion_smoothness",
    "aesthetic_quality",
    "imaging_quality",
)
# VBench's image quality is MUSIQ's score of 0 to 100; its four others are cosines and shares
_VBENCH_HIGH = {"imaging_quality": 100.0}

_ALL = (
    Metric(PSNR, "PSNR", HIGHER, 0.0, LIMIT, "dB", column="psnr"),
    Metric(SSIM, "SSIM", HIGHER, -1.0, 1.0, column="ssim"),
    Metric("lpips_vgg_224", "LPIPS, VGG", LOWER, 0.0, INFINITY, network="vgg16"),
    Metric("lpips_alex", "LPIPS, AlexNet", LOWER, 0.0, INFINITY, network="alexnet"),
    Metric(
        "lpips_alex_spatial", "LPIPS, AlexNet, spatial", LOWER, 0.0, INFINITY, network="alexnet"
    ),
    Metric("vgg_hed_distance", "VGG-HED distance", LOWER, 0.0, INFINITY, network="vgg_hed"),
    Metric("fid_inception_every5", "FID", LOWER, 0.0, INFINITY, of=SET, network="inception"),
    Metric("fvd_i3d_16f", "FVD, 16 frames", LOWER, 0.0, INFINITY, of=SET, network="i3d"),
    Metric("fvd_i3d_clip_224", "FVD, whole clip", LOWER, 0.0, INFINITY, of=SET, network="i3d"),
    *(
        Metric(
            f"vbench_{name}",
            f"VBench {name.replace('_', ' ')}",
            HIGHER,
            0.0,
            _VBENCH_HIGH.get(name, 1.0),
            network="vbench",
        )
        for name in VBENCH_DIMENSIONS
    ),
    Metric("residual_rms", "Measurement residual", LOWER, 0.0, INFINITY, "of [-1, 1]"),
    Metric("frame_difference_error", "Frame-difference error", LOWER, 0.0, 2.0, "of [0, 1]"),
    Metric("flicker_high_band", "Flicker", ZERO, -INFINITY, INFINITY, "dB"),
    Metric("flicker_static", "Flicker where nothing moves", LOWER, 0.0, 1.0, "of [0, 1]"),
    Metric("grid_energy_8px", "8-pixel grid", LOWER, 0.0, INFINITY, "of the clean clip's"),
    Metric(
        "grid_contrast_8px", "8-pixel grid, contrast", LOWER, 0.0, INFINITY, "of the clean clip's"
    ),
    Metric("sharpness_high_band", "Sharpness", ZERO, -INFINITY, INFINITY, "dB"),
    Metric("gradient_distance", "Gradient distance", LOWER, 0.0, 1.0, "of [0, 1]"),
    Metric("time_to_first_frame", "First frame", LOWER, 0.0, INFINITY, "s", STREAM),
    Metric("seconds", "Total", LOWER, 0.0, INFINITY, "s", STREAM),
    Metric("frames_per_second", "Frame rate", HIGHER, 0.0, INFINITY, "1/s", STREAM),
    Metric(
        "frames_per_second_core_decode",
        "Frame rate, core and decoder",
        HIGHER,
        0.0,
        INFINITY,
        "1/s",
        STREAM,
    ),
    Metric("peak_memory_cuda", "Peak memory, GPU", LOWER, 0.0, INFINITY, "GiB", STREAM),
    Metric("peak_memory_growth", "Peak memory, CPU", LOWER, 0.0, INFINITY, "GiB", STREAM),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}


def metric(name: str) -> Metric:
    """The metric of this name.

    Raises:
        UserError: an unknown name.
    """
    try:
        return METRICS[name]
    except KeyError:
        raise UserError(
            f"protocol.metrics: {name} is not a metric; use some of {', '.join(METRICS)}"
        ) from None
