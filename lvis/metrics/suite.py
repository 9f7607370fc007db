"""The metrics of one protocol together, each a number or the reason why there is none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from lvis.errors import UserError
from lvis.metrics.errors import Unmeasured
from lvis.metrics.features import clip_features, load_network
from lvis.metrics.grid import grid_contrast, grid_energy
from lvis.metrics.lpips import LPIPS
from lvis.metrics.psnr import PSNR, psnr_frames
from lvis.metrics.registry import CLIP, SET, STREAM, VBENCH_DIMENSIONS, Metric, metric
from lvis.metrics.residual import residual_rms
from lvis.metrics.sharpness import gradient_distance, sharpness_high_band
from lvis.metrics.speed import Clock, speed
from lvis.metrics.ssim import SSIM, WINDOW, ssim_frames
from lvis.metrics.temporal import flicker_high_band, flicker_static, frame_difference_error
from lvis.metrics.vbench import VBench
from lvis.metrics.vgg_hed import VGGHED, weights_file
from lvis.metrics.weights import network_file

_FULL_SHA256 = 64


@dataclass
class Scores:
    """Column -> number, None where unmeasured; and of those, column -> why."""

    values: dict[str, float | None] = field(default_factory=dict)
    unmeasured: dict[str, str] = field(default_factory=dict)

    def take(self, column: str, compute: Callable[[], float]) -> None:
        """The number that `compute` gives, or the reason of the `Unmeasured` it raises."""
        try:
            self.values[column] = compute()
        except Unmeasured as reason:
            self.miss(column, str(reason))

    def miss(self, column: str, reason: str) -> None:
        self.values[column] = None
        self.unmeasured[column] = reason


class Suite:
    """Scores clips one at a time; holds networks, no clip and no sum.

    Args:
        names: of metrics, as in the registry.
        networks: part -> where its weights are (`metric_weights` of conf/evaluate.yaml).
        suffix: appended to the names of metrics that compare with the clean clip, for protocols
            that compress both first.

    Raises:
        UserError: an unknown metric; when used, weights that are not the pinned ones.
    """

    def __init__(
        self,
        names: Sequence[str],
        networks: Mapping[str, Mapping[str, Any]] | None = None,
        suffix: str = "",
    ) -> None:
        self.metrics: list[Metric] = [metric(name) for name in names]
        self.suffix = suffix
        self.vbench = VBench((networks or {}).get("vbench", {}))
        self._nodes = networks or {}
        self._loaded: dict[str, nn.Module | Unmeasured] = {}

    def column(self, one: Metric) -> str:
        """The column of a metric in results.jsonl."""
        compressed = self.suffix and one.of != STREAM and one.name != "residual_rms"
        return f"{one.name}_{self.suffix}" if compressed else one.key

    @property
    def columns(self) -> dict[str, Metric]:
        """Column -> metric, in the protocol's order."""
        return {self.column(one): one for one in self.metrics}

    @property
    def dimensions(self) -> list[str]:
        """VBench's among the metrics, by VBench's names."""
        return [d for d in VBENCH_DIMENSIONS if f"vbench_{d}" in {m.name for m in self.metrics}]

    def clip(self, video: Tensor, reference: Tensor) -> Scores:
        """The metrics of pixels: (1, 3, T, H, W) in [-1, 1] twice."""
        scores = Scores()
        for one in self.metrics:
            if one.of == CLIP and one.name in _PIXELS | _DISTANCES:
                scores.take(self.column(one), partial(self._pixels, one, video, reference))
        return scores

    def fidelity(self, measured: Tensor | None, measurement: Tensor) -> Scores:
        """The residual of A x (None where A does not act on pixels) against y."""
        scores = Scores()
        for one in self.metrics:
            if one.name == "residual_rms":
                if measured is None:
                    scores.miss(one.key, "the operator acts on latents")
                else:
                    scores.take(one.key, lambda: residual_rms(measured, measurement))
        return scores

    def clock(self, clock: Clock | None) -> Scores:
        """The metrics of the stream's clock."""
        scores = Scores()
        for one in self.metrics:
            if one.of == STREAM:
                scores.take(one.key, partial(speed, one.name, clock))
        return scores

    def features(self, name: str, video: Tensor, clip: str) -> Tensor:
        """The feature vectors (N, D) that a clip adds to the set metric `name`.

        Raises:
            Unmeasured: no network, or a clip too short.
        """
        one = metric(name)
        assert one.of == SET and one.network is not None
        return clip_features(name, self._network(name, one.network), video, clip)

    def _pixels(self, one: Metric, video: Tensor, reference: Tensor) -> float:
        if one.name in _DISTANCES:
            network = self._network(one.name, str(one.network))
            return network(video, reference).mean().item()
        return _PIXEL_METRICS[one.name](video, reference)

    def _network(self, name: str, part: str) -> nn.Module:
        if name not in self._loaded:
            try:
                self._loaded[name] = self._load(name, part)
            except Unmeasured as reason:
                self._loaded[name] = reason
        network = self._loaded[name]
        if isinstance(network, Unmeasured):
            raise network
        return network

    def _load(self, name: str, part: str) -> nn.Module:
        node = self._nodes.get(part, {})
        if name == _VGG_HED:
            return VGGHED(weights_file(node))
        path = network_file(part, node)
        if name in _LPIPS:
            return LPIPS(name, path)
        if len(str(node.get("sha256") or "")) < _FULL_SHA256:
            raise UserError(
                f"metric_weights.{part}.sha256 must be all 64 digits: a TorchScript file runs its "
                "own graph; write those of the file you trust"
            )
        return load_network(path)


def _ssim(video: Tensor, reference: Tensor) -> float:
    if min(video.shape[-2:]) < WINDOW:
        raise Unmeasured(f"frames smaller than SSIM's window of {WINDOW}")
    return ssim_frames(video, reference).mean().item()


_PIXEL_METRICS: dict[str, Callable[[Tensor, Tensor], float]] = {
    PSNR: lambda video, reference: psnr_frames(video, reference).mean().item(),
    SSIM: _ssim,
    "frame_difference_error": frame_difference_error,
    "flicker_high_band": flicker_high_band,
    "flicker_static": flicker_static,
    "grid_energy_8px": grid_energy,
    "grid_contrast_8px": grid_contrast,
    "sharpness_high_band": sharpness_high_band,
    "gradient_distance": gradient_distance,
}
_PIXELS = frozenset(_PIXEL_METRICS)
_LPIPS = frozenset({"lpips_vgg_224", "lpips_alex", "lpips_alex_spatial"})
_VGG_HED = "vgg_hed_distance"
_DISTANCES = _LPIPS | {_VGG_HED}
