"""A numeric column of results.jsonl as a metric, those of unregistered protocols by their family."""

from dataclasses import replace

from lvis.metrics.psnr import PSNR
from lvis.metrics.registry import INFINITY, LOWER, METRICS, STREAM, Metric
from lvis.metrics.ssim import SSIM

RATE = "frames_per_second"

_METRICS = {metric.key: metric for metric in METRICS.values()} | METRICS
_FAMILIES = {
    **{
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
    },
    # counts, which are not metrics
    "memory": Metric("memory", "Memory", LOWER, 0.0, INFINITY, of=STREAM, decimals=1),
    "passes": Metric("passes", "Passes per frame", LOWER, 0.0, INFINITY, of=STREAM, decimals=2),
}


def quantity(name: str) -> Metric:
    """The metric of a column, whose name is the column's; an unknown one has no direction."""
    if name in _METRICS:
        return replace(_METRICS[name], name=name)
    family = _family(name)
    if family is None:
        return Metric(name, name.replace("_", " "), "", -INFINITY, INFINITY)
    metric = _FAMILIES[family]
    title = metric.title.partition(",")[0] + name.removeprefix(family).replace("_", " ")
    return replace(metric, name=name, title=title)


def is_known(name: str) -> bool:
    return name in _METRICS or _family(name) is not None


def _family(name: str) -> str | None:
    return next((f for f in _FAMILIES if name == f or name.startswith(f"{f}_")), None)
