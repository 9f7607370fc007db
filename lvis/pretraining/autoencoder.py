"""Pretraining of a video VAE (wan or lean) on synthetic clips.

Legend: B batch, C channels, T frames, H W pixels; lower case for latents.
"""

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvis.pretraining.schedule import adamw_cosine


def edge_loss(restored: Tensor, video: Tensor) -> Tensor:
    """L1 between the first differences of two videos (B, 3, T, H, W) along T, H and W."""
    losses = [
        (restored.diff(dim=axis) - video.diff(dim=axis)).abs().mean()
        for axis in (2, 3, 4)
        if video.shape[axis] > 1
    ]
    return torch.stack(losses).sum()


class AutoencoderPretraining(lightning.LightningModule):
    """L1 + L1 on first differences, through noisy latents; the encoder's mean is the latent.

    No KL term: sampling from an untrained posterior (variance 1) drowned the tiny wan's latents and it never
    learnt; relative noise on the mean smooths the latent space without that trap.

    vae              lvis VAE whose latent statistics are still (0, 1)
    learning_rate    peak rate of AdamW
    steps            optimiser steps of the cosine schedule
    edge_weight      weight of the L1 on first differences
    latent_noise     standard deviation, relative to the latents' own, of noise added before decoding: it
                     makes the decoder tolerate the errors of a diffusion model
    frames_as_images train on each frame alone (the first stage; see inflation.py)
    """

    def __init__(
        self,
        vae: nn.Module,
        *,
        learning_rate: float,
        steps: int,
        edge_weight: float = 1.0,
        latent_noise: float = 0.0,
        frames_as_images: bool = False,
    ) -> None:
        super().__init__()
        self.vae = vae
        self.learning_rate = learning_rate
        self.steps = steps
        self.edge_weight = edge_weight
        self.latent_noise = latent_noise
        self.frames_as_images = frames_as_images

    def training_step(self, batch: dict, batch_index: int) -> Tensor:
        video = batch["video"]
        if self.frames_as_images:
            video = video.transpose(1, 2).flatten(0, 1).unsqueeze(2)
        latents = self.vae.encode(video).float()
        if self.latent_noise:
            scale = latents.detach().std(dim=(0, 2, 3, 4), keepdim=True)
            latents = latents + self.latent_noise * scale * torch.randn_like(latents)
        restored = self.vae.decode(latents).float()
        l1 = (restored - video).abs().mean()
        edges = edge_loss(restored, video)
        self.log_dict({"l1": l1, "edges": edges}, prog_bar=True)
        return l1 + self.edge_weight * edges

    def validation_step(self, batch: dict, batch_index: int) -> None:
        video = batch["video"]
        restored = self.vae.decode(self.vae.encode(video)).float().clamp(-1, 1)
        mse = F.mse_loss(restored, video, reduction="none").mean(dim=(1, 3, 4))
        psnr = (10 * torch.log10(4 / mse.clamp_min(1e-10))).mean()
        self.log("val_psnr", psnr, prog_bar=True, batch_size=video.shape[0])

    def configure_optimizers(self) -> dict:
        return adamw_cosine(
            self.vae.parameters(),
            learning_rate=self.learning_rate,
            steps=self.steps,
            weight_decay=0.0,
        )


@torch.no_grad()
def latent_statistics(vae: nn.Module, videos: list[Tensor]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation a channel of the latents of some videos (each (3, T, H, W)).

    The first latent frame of a clip is left out: it stands for one video frame, the others for four each.
    """
    latents = [vae.encode(video[None]).float()[:, :, 1:] for video in videos]
    channels = torch.cat([z.transpose(0, 1).flatten(1) for z in latents], dim=1)
    return channels.mean(dim=1).tolist(), channels.std(dim=1).tolist()
