"""Pretraining of a video VAE (wan or lean) on synthetic clips."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from lvis.metrics import psnr_frames
from lvis.vae import LeanVAE, VideoVAE, WanVAE


def reconstruction_loss(
    vae: VideoVAE,
    *,
    latent_noise: float,
    frames_as_images: bool,
    l1_weight: float,
    chroma_weight: float = 1.0,
) -> Callable[[dict], dict[str, Tensor]]:
    """Mean squared error plus `l1_weight` times the mean absolute one, through noisy latents.

    Squared error first of all: with L1 and L1 on image gradients, whose gradients do not shrink with the error,
    the tiny wan VAE sat at 14 dB while squared error took it to 18 in the same 40 seconds. No KL term
    either: sampled from an
    untrained posterior (variance 1), the latents drown and it never learns; relative noise smooths them instead.

    Args:
        latent_noise: standard deviation, relative to the latents' own, of the noise that the decoder sees; it makes it
            tolerate the errors of a diffusion model.
        frames_as_images: each frame alone (the first stage; see inflation.py).
        chroma_weight: weight of the squared error of the two colour axes, relative to luminance's. Colour has a tenth
            of luminance's variance in these clips, and at 1 the tiny wan VAE left out more than half of it.
    """

    def loss_of(batch: dict) -> dict[str, Tensor]:
        video = batch["video"]
        if frames_as_images:
            video = video.transpose(1, 2).flatten(0, 1).unsqueeze(2)
        latents = vae.encode(video).float()
        if latent_noise:
            scale = latents.detach().std(dim=(0, 2, 3, 4), keepdim=True)
            latents = latents + latent_noise * scale * torch.randn_like(latents)
        restored = vae.decode(latents).float()
        return reconstruction_terms(restored, video, l1_weight, chroma_weight)

    return loss_of


def reconstruction_terms(
    restored: Tensor, clean: Tensor, l1_weight: float, chroma_weight: float = 1.0
) -> dict[str, Tensor]:
    """Mean squared error plus `l1_weight` times the mean absolute one, and each by itself.

    Args:
        chroma_weight: see `reconstruction_loss`.
    """
    error = restored - clean
    mse = error.square().mean()
    l1 = error.abs().mean()
    # of orthonormal axes, one of luminance and two of colour: |error|^2 = 3 mean^2 + colour's
    luminance = error.mean(dim=1).square().mean()
    distortion = luminance + chroma_weight * (mse - luminance)
    return {"loss": distortion + l1_weight * l1, "mse": mse.detach(), "l1": l1.detach()}


def reconstruction_psnr(vae: VideoVAE, batches: Iterable[dict]) -> Callable[[], dict[str, float]]:
    """A validation: mean PSNR over frames of held-out clips (dB)."""
    videos = [batch["video"] for batch in batches]

    def validate() -> dict[str, float]:
        scores = [psnr_frames(vae.decode(vae.encode(video)), video).mean() for video in videos]
        return {"psnr": torch.stack(scores).mean().item()}

    return validate


@torch.no_grad()
def latent_statistics(
    vae: WanVAE | LeanVAE, videos: list[Tensor]
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel of the latents of some videos (each (3, T, H, W)).

    They are of the latents before normalisation, whatever statistics `vae` has now. The first latent frame of a clip is
    left out: it stands for one video frame, the others for four each.
    """
    mean, std = (s.flatten().view(1, -1, 1, 1, 1) for s in (vae.latents_mean, vae.latents_std))
    latents = [vae.encode(video[None])[:, :, 1:] * std + mean for video in videos]
    channels = torch.cat([z.transpose(0, 1).flatten(1) for z in latents], dim=1)
    return channels.mean(dim=1).tolist(), channels.std(dim=1).tolist()
