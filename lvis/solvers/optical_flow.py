"""Optical flow between frames: RAFT where its weights are, and OpenCV's DIS where they are not."""

from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from lvis.errors import UserError
from lvis.files import sha256_of
from lvis.solvers.warping import visible
from lvis.weights import safe
from lvis.weights.check import fill
from lvis.weights.load import parameters_on_meta

# of the training of torchvision's raft_large that it names first
RAFT_FILE = "raft_large_C_T_SKHT_V2-ff5fadd5.pth"
RAFT_STRIDE, RAFT_SMALLEST = 8, 128
DIS_SMALLEST = 64


class OpticalFlow(Protocol):
    """Flow from the frames of one batch to those of another; see `lvis.solvers.warping`.

    Attributes:
        name: for descriptions.
    """

    name: str

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Frames (N, 3, H, W) in [-1, 1], twice -> (N, 2, H, W), float32 pixels."""


class DISFlow:
    """Dense inverse search (Kroeger et al. 2016), OpenCV's, on grey frames on the CPU."""

    name = "DIS"

    def __init__(self) -> None:
        import cv2

        # its type says that `calc` needs a first guess, which may be None
        self._search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        # flow at every pixel: at half of the resolution small clips have too few patches
        self._search.setFinestScale(0)

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        height, width = first.shape[-2:]
        pairs = zip(_grey(first), _grey(second), strict=True)
        flows = [torch.from_numpy(self._search.calc(one, other, None)) for one, other in pairs]
        stacked = torch.stack(flows).permute(0, 3, 1, 2)[..., :height, :width]
        return stacked.float().to(first.device)


class RAFTFlow:
    """RAFT (Teed and Deng 2020), torchvision's large model.

    Args:
        weights: the file of its state dict.

    Raises:
        UserError: no such file, or it is not of this model.
    """

    name = "RAFT"

    def __init__(self, weights: Path, device: str | torch.device = "cpu") -> None:
        from torchvision.models.optical_flow import raft_large

        content, _ = safe.read_file(weights)
        with parameters_on_meta():
            self._net = raft_large(weights=None, progress=False)
        fill(self._net, content, str(weights))
        self._net.requires_grad_(False).eval().to(device)

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        height, width = first.shape[-2:]
        padding = [
            max(RAFT_SMALLEST, -(-side // RAFT_STRIDE) * RAFT_STRIDE) - side
            for side in (width, height)
        ]
        around = (0, padding[0], 0, padding[1])
        one, other = (F.pad(f.float(), around, mode="replicate") for f in (first, second))
        return self._net(one, other)[-1][..., :height, :width]


def load_optical_flow(weights: str | None, device: str | torch.device = "cpu") -> OpticalFlow:
    """The flow that a solver asks for.

    Args:
        weights: a file of RAFT's; "dis"; or None for RAFT if torch's own cache has it, else DIS.

    Raises:
        UserError: no such file, or another than its name says.
    """
    if weights == "dis":
        return DISFlow()
    if weights is not None:
        return RAFTFlow(Path(weights).expanduser(), device)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / RAFT_FILE
    if not cached.is_file():
        return DISFlow()
    pin = cached.stem.rsplit("-", 1)[-1]
    if not sha256_of(cached).startswith(pin):
        raise UserError(f"{cached} is damaged: its sha256 does not begin with {pin}; delete it")
    return RAFTFlow(cached, device)


def both_ways(estimate: OpticalFlow, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Flow from the first frames to the second, and where it can be trusted, bool (N, 1, H, W)."""
    forward = estimate(first, second)
    return forward, visible(forward, estimate(second, first))


def _grey(frames: Tensor) -> list:
    """8-bit grey images, continued to the smallest sides that the search takes."""
    height, width = frames.shape[-2:]
    around = (0, max(0, DIS_SMALLEST - width), 0, max(0, DIS_SMALLEST - height))
    padded = F.pad(frames.float(), around, mode="replicate")
    weights = torch.tensor([0.299, 0.587, 0.114], device=frames.device)  # BT.601 luma
    luma = (padded * weights.view(1, 3, 1, 1)).sum(1)
    return list(((luma + 1) * 127.5).round().clamp(0, 255).byte().cpu().numpy())
