"""Starting a causal video VAE as an image VAE: every 3-D kernel looks at the present frame only.

Trained from the usual initialisation, the tiny Wan VAE sat on a plateau for hundreds of steps; on single images,
and then inflated, it learns at once. With these kernels a video is coded frame by frame, latents are averages of four
frames, and decoding repeats each of them four times, which is where video training takes over.
"""

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    AutoencoderKLWan,
    WanResample,
    WanResidualBlock,
)
from torch import nn

RESIDUAL_GAIN = 0.3  # branches start small beside their skip connections


@torch.no_grad()
def initialise_as_image_vae(net: AutoencoderKLWan) -> None:
    """Draw the weights of `net` anew, with zeros wherever a kernel would look at the past."""
    for module in net.modules():
        if isinstance(module, nn.Conv3d | nn.Conv2d):
            weight = module.weight
            weight.zero_()
            present = weight[:, :, -1] if weight.ndim == 5 else weight
            nn.init.kaiming_normal_(present, nonlinearity="linear")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in net.modules():
        if isinstance(module, WanResidualBlock):
            module.conv2.weight.mul_(RESIDUAL_GAIN)
        if isinstance(module, WanResample) and module.mode.endswith("3d"):
            _average_or_repeat(module)


def _average_or_repeat(resample: WanResample) -> None:
    weight = resample.time_conv.weight  # (C or 2C, C, 3, 1, 1)
    weight.zero_()
    channels = weight.shape[1]
    eye = torch.eye(channels)
    if resample.mode == "downsample3d":
        weight[:, :, 1, 0, 0] = weight[:, :, 2, 0, 0] = eye / 2
    else:
        weight[:channels, :, 2, 0, 0] = weight[channels:, :, 2, 0, 0] = eye
