"""PSNR and SSIM of a clip, added up block by block."""

from torch import Tensor

from lvis.metrics import PSNR, SSIM, psnr_frames, ssim_frames
from lvis.metrics.ssim import WINDOW


class Scores:
    """Means over all frames so far, of tensors before any encoding; the keys name the protocol."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, float]] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, video: Tensor, reference: Tensor) -> None:
        """Frames (1, 3, T, H, W) in [-1, 1] of the variant `name`, and the clean ones."""
        sums = self._sums.setdefault(name, {})
        self._counts[name] = self._counts.get(name, 0) + video.shape[2]
        sums[PSNR] = sums.get(PSNR, 0.0) + float(psnr_frames(video, reference).sum())
        if min(video.shape[-2:]) >= WINDOW:
            sums[SSIM] = sums.get(SSIM, 0.0) + float(ssim_frames(video, reference).sum())

    def means(self) -> dict[str, dict[str, float]]:
        """Variant -> protocol -> mean over its frames; PSNR in dB."""
        return {
            name: {protocol: total / self._counts[name] for protocol, total in sums.items()}
            for name, sums in self._sums.items()
        }
