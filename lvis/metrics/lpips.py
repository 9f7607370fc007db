"""LPIPS (Zhang et al. 2018), with the heads of the lpips package and a trunk given as a file."""

import re
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvis.errors import UserError
from lvis.metrics.frames import unit_frames
from lvis.weights.safe import read_file

FRAMES_AT_ONCE = 4
_SIDE_OF_224 = 224


class LPIPS(nn.Module):
    """The perceptual distance of frames.

    The protocols: `lpips_vgg_224` (AVIS: VGG-16, frames resized to 224 x 224, bilinear),
    `lpips_alex` (AlexNet at full size, the package's default) and `lpips_alex_spatial`
    (VISION-XL's: AlexNet, each layer's map brought to the frame's size before the mean).

    Args:
        name: one of these.
        trunk: torchvision's vgg16 or alexnet state dict; None leaves the trunk random, for tests
            of everything else.

    Raises:
        UserError: a file that is not that trunk.
    """

    def __init__(self, name: str, trunk: Path | None) -> None:
        super().__init__()
        import lpips

        self.name = name
        net = "vgg" if name.startswith("lpips_vgg") else "alex"
        with warnings.catch_warnings():
            # the package still calls torchvision with the argument's old name
            warnings.simplefilter("ignore", UserWarning)
            self.distance = lpips.LPIPS(
                net=net, pnet_rand=True, spatial=name.endswith("_spatial"), verbose=False
            )
        if trunk is not None:
            _load_trunk(self.distance.net, trunk)
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, video: Tensor, reference: Tensor) -> Tensor:
        """The distance of every frame: (B, 3, T, H, W) in [-1, 1] twice -> (B, T)."""
        pairs = zip(
            unit_frames(video).split(FRAMES_AT_ONCE),
            unit_frames(reference).split(FRAMES_AT_ONCE),
            strict=True,
        )
        scores = [self._frames(a, b) for a, b in pairs]
        return torch.cat(scores).view(video.shape[0], -1)

    def _frames(self, a: Tensor, b: Tensor) -> Tensor:
        if self.name.endswith("_224"):
            size = (_SIDE_OF_224, _SIDE_OF_224)
            a, b = (F.interpolate(x, size=size, mode="bilinear") for x in (a, b))
        return self.distance(a, b, normalize=True).mean(dim=(1, 2, 3))


def _load_trunk(net: nn.Module, path: Path) -> None:
    state, _ = read_file(path)
    wanted = {key: re.sub(r"^slice\d+\.", "features.", key) for key in net.state_dict()}
    missing = [name for name in wanted.values() if name not in state]
    if missing:
        raise UserError(
            f"{path} is not torchvision's trunk: it has no {missing[0]}; give that state dict"
        )
    net.load_state_dict({key: state[name] for key, name in wanted.items()})
