"""Features of frames and clips for Frechet distances: how each protocol feeds its network.

The networks are the TorchScript files that the papers' codes use, InceptionV3 of FID and I3D of
Kinetics-400; loading one runs its graph, so its sha256 must be pinned in full.
"""

import zlib
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvis.errors import UserError
from lvis.metrics.errors import Unmeasured
from lvis.metrics.frames import unit_frames

EVERY = 5  # AVIS: each fifth frame of a clip goes into its FID
CLIP_FRAMES, CLIP_SEED, SHORT_SIDE, I3D_SIDE = 16, 42, 256, 224
SMALLEST_CLIP = 10  # I3D halves time until fewer frames leave it none
FRAMES_AT_ONCE = 8


def load_network(path: Path) -> nn.Module:
    """A TorchScript network in evaluation mode, on the CPU.

    Raises:
        UserError: a file that is not TorchScript.
    """
    try:
        return torch.jit.load(str(path), map_location="cpu").eval()
    except RuntimeError as error:
        raise UserError(f"{path} is not a TorchScript network; give a TorchScript file") from error


@torch.no_grad()
def clip_features(name: str, network: nn.Module, video: Tensor, clip: str) -> Tensor:
    """The feature vectors that one clip adds to the set metric `name`.

    Args:
        name: `fid_inception_every5`: every fifth frame at full size as uint8 levels, pooled to 2048;
            `fvd_i3d_16f` (AVIS): 16 frames from a random place, the shorter side to 256, the
            centre cut out and squashed to 224 x 224; `fvd_i3d_clip_224` (VISION-XL): all frames,
            the shorter side to 224, the centre.
        video: (1, 3, T, H, W) in [-1, 1].
        clip: its name, which the random place is drawn from, the same for every solver.

    Returns:
        (N, D) float32.

    Raises:
        Unmeasured: a clip too short for the protocol.
    """
    if name == "fid_inception_every5":
        levels = (unit_frames(video)[::EVERY] * 255).round().to(torch.uint8)
        parts = [network(part, return_features=True) for part in levels.split(FRAMES_AT_ONCE)]
        return torch.cat(parts).float()
    if name == "fvd_i3d_16f":
        clip_frames = squashed(sixteen_frames(video, clip))
    else:
        clip_frames = centre_cut(video, I3D_SIDE)
        if video.shape[2] < SMALLEST_CLIP:
            raise Unmeasured(f"a clip of {video.shape[2]} frames; I3D needs {SMALLEST_CLIP}")
    return network(clip_frames, rescale=False, resize=False, return_features=True).float()


def sixteen_frames(video: Tensor, clip: str) -> Tensor:
    """16 consecutive frames from a place that follows from the clip's name.

    Raises:
        Unmeasured: fewer than 16 frames.
    """
    spare = video.shape[2] - CLIP_FRAMES
    if spare < 0:
        raise Unmeasured(f"a clip of {video.shape[2]} frames; the protocol takes {CLIP_FRAMES}")
    generator = torch.Generator().manual_seed(CLIP_SEED + zlib.crc32(clip.encode()))
    begin = int(torch.randint(spare + 1, (), generator=generator))
    return video[:, :, begin : begin + CLIP_FRAMES]


def squashed(video: Tensor) -> Tensor:
    """The centre square of the shorter side brought to 256, then all of it to 224 x 224."""
    return _resize(centre_cut(video, SHORT_SIDE), (I3D_SIDE, I3D_SIDE), antialias=False)


def centre_cut(video: Tensor, side: int) -> Tensor:
    """The shorter side brought to `side`, antialiased, and the centre square cut out."""
    height, width = video.shape[-2:]
    scale = side / min(height, width)
    size = (max(side, round(height * scale)), max(side, round(width * scale)))
    scaled = _resize(video, size, antialias=True)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    return scaled[..., top : top + side, left : left + side]


def _resize(video: Tensor, size: tuple[int, int], antialias: bool) -> Tensor:
    frames = video.clamp(-1, 1).float().transpose(1, 2).flatten(0, 1)
    scaled = F.interpolate(
        frames, size=size, mode="bilinear", align_corners=False, antialias=antialias
    )
    return scaled.unflatten(0, (video.shape[0], -1)).transpose(1, 2)
