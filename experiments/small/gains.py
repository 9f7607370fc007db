"""What a student adds to the better of x_init and A^+ y on held-out clips, per task."""

from collections.abc import Callable

import torch
from torch import Tensor

from lvis.operators import (
    Downsampling,
    GaussianBlur,
    Identity,
    Inpainting,
    LinearOperator,
    TemporalAverage,
    compose,
)
from small.network import Student

NOISE = 0.02


def tasks(noise: float = NOISE) -> dict[str, LinearOperator]:
    return {
        "inpaint": Inpainting(0.5, noise_std=noise),
        "deblur": GaussianBlur(noise_std=noise),
        "sr4": Downsampling(4, "cubic", noise_std=noise),
        "temporal_average": TemporalAverage(7, noise_std=noise),
        "sr_plus": compose(Downsampling(4, "average"), TemporalAverage(7), noise_std=noise),
        "denoise": Identity(noise_std=max(noise, 0.05)),
    }


# of which A^+ y can be the better start; it copies the noise, or drifts, in the others
INVERTED = ("deblur", "sr4")


def validation(student: Student, clips: list[Tensor]) -> Callable[[], str]:
    """Per task: PSNR of x_init, the mean gain over the better start, and the least of all clips (dB)."""

    def score() -> str:
        parts = []
        for name, family in tasks().items():
            starts, gains = [], []
            for clip in clips:
                generator = torch.Generator().manual_seed(0)
                operator = family.realise(clip.shape, generator)
                y = operator.measure(clip, generator)
                restored, estimate, _ = student(operator, y)
                starts.append(psnr(estimate, clip))
                best = starts[-1]
                if name in INVERTED:
                    best = max(best, psnr(operator.pinv(y), clip))
                gains.append(psnr(restored, clip) - best)
            mean, gain = sum(starts) / len(starts), sum(gains) / len(gains)
            parts.append(f"{name} {mean:.2f} {gain:+.2f} [{min(gains):+.2f}]")
        return ", ".join(parts)

    return score


def psnr(restored: Tensor, clean: Tensor) -> float:
    """Mean over frames, dB."""
    errors = (restored.clamp(-1, 1) - clean).square().mean(dim=(0, 1, 3, 4))
    return float((10 * torch.log10(4 / errors)).mean())
