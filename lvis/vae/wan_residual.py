"""What Wan 2.2's VAE has beside 2.1's layers: shortcuts past its resampling, and pixels folded into channels.

Both are free of parameters. Frame 0 of a stream is alone, as in the layers: where frames are halved it is averaged with
zeros before it, where they are doubled it gives one frame.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from lvis.vae.wan_layers import Stream, downsample, residual_block, upsample


def down_block(block: Any, x: Tensor, stream: Stream) -> Tensor:
    """A WanResidualDownBlock: residual blocks and a halving, beside averages of what went in."""
    shortcut = averages(block.avg_shortcut, x, stream.begins)
    for resnet in block.resnets:
        x = residual_block(resnet, x, stream)
    if block.downsampler is not None:
        x = downsample(block.downsampler, x, stream)
    return x + shortcut


def up_block(block: Any, x: Tensor, stream: Stream) -> Tensor:
    """A WanResidualUpBlock: residual blocks and a doubling, beside copies of what went in."""
    shortcut = None if block.avg_shortcut is None else copies(block.avg_shortcut, x, stream.begins)
    for resnet in block.resnets:
        x = residual_block(resnet, x, stream)
    if block.upsampler is not None:
        x = upsample(block.upsampler, x, stream)
    return x if shortcut is None else x + shortcut


def averages(shape: Any, x: Tensor, begins: bool) -> Tensor:
    """Blocks of frames and pixels as channels, averaged in groups to the channels that come out.

    Args:
        shape: diffusers' AvgDown3D, of which only the sizes are used.
        x: (B, C, T, H, W); T is 1 + a multiple of factor_t where the stream begins, else a multiple.
    """
    t, s = shape.factor_t, shape.factor_s
    if begins:
        x = F.pad(x, (0, 0, 0, 0, t - 1, 0))
    blocks = x.unflatten(4, (-1, s)).unflatten(3, (-1, s)).unflatten(2, (-1, t))
    # (B, C, T / t, t, H / s, s, W / s, s): what lies within a block goes beside its channel
    channels = blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4)
    return channels.unflatten(1, (shape.out_channels, -1)).mean(dim=2)


def copies(shape: Any, x: Tensor, begins: bool) -> Tensor:
    """Channels repeated and laid out as blocks of frames and pixels.

    Args:
        shape: diffusers' DupUp3D, of which only the sizes are used.
    """
    t, s = shape.factor_t, shape.factor_s
    repeated = x.repeat_interleave(shape.repeats, dim=1).unflatten(1, (-1, t, s, s))
    # (B, C, t, s, s, T, H, W) -> (B, C, T, t, H, s, W, s)
    blocks = repeated.permute(0, 1, 5, 2, 6, 3, 7, 4)
    larger = blocks.flatten(6, 7).flatten(4, 5).flatten(2, 3)
    return larger[:, :, t - 1 :] if begins else larger


def fold(video: Tensor, patch: int) -> Tensor:
    """Patches of pixels as channels, columns before rows: (B, 3, T, H, W) -> (B, 3 patch^2, T, H / patch, ...)."""
    blocks = video.unflatten(4, (-1, patch)).unflatten(3, (-1, patch))
    return blocks.permute(0, 1, 6, 4, 2, 3, 5).flatten(1, 3)


def unfold(folded: Tensor, patch: int) -> Tensor:
    """The inverse of `fold`."""
    blocks = folded.unflatten(1, (-1, patch, patch)).permute(0, 1, 4, 5, 3, 6, 2)
    return blocks.flatten(5, 6).flatten(3, 4)
