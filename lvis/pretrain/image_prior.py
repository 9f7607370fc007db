"""Pretraining of the latent image prior: an image VAE, then noise prediction on its latents (Ho et al. 2020)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lvis.backbone.image_prior import TIMESTEPS, Embedding, ImagePrior
from lvis.data.synthetic import SyntheticVideos
from lvis.files import replacing
from lvis.metrics import psnr_frames
from lvis.pretrain.autoencoder import reconstruction_terms

# sides that SDXL's size conditioning is drawn from, so that the small prior ignores it and takes any
SMALLEST_SIDE, LARGEST_SIDE = 64, 1024
BANK_SEED = 1
ENCODED_AT_ONCE = 8


def image_reconstruction_loss(
    prior: ImagePrior,
    *,
    crop: int,
    latent_noise: float,
    l1_weight: float,
    chroma_weight: float = 1.0,
    autocast: bool,
) -> Callable[[dict], dict[str, Tensor]]:
    """|x - D(E(x) + noise)|^2 and `l1_weight` times the mean absolute error, on random crops of frames.

    Args:
        crop: side of the square crops, pixels.
        latent_noise: standard deviation of the noise that the decoder sees, relative to a
            channel's own; it stands in for the posterior's.
        chroma_weight: of the squared error in colour, see autoencoder.py.
    """

    def loss_of(batch: dict) -> dict[str, Tensor]:
        frames = random_crops(batch["video"].transpose(1, 2).flatten(0, 1), crop)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            latents = prior.vae.encode(frames).latent_dist.mean
            scale = latents.detach().std(dim=(0, 2, 3), keepdim=True)
            noisy = latents + latent_noise * scale * torch.randn_like(latents)
            restored = prior.vae.decode(noisy).sample.float()
        return reconstruction_terms(restored, frames, l1_weight, chroma_weight)

    return loss_of


def random_crops(frames: Tensor, side: int) -> Tensor:
    """One square crop of each of (N, 3, H, W)."""
    spare = torch.tensor(frames.shape[-2:]) - side
    crops = []
    for frame in frames:
        top, left = ((spare + 1) * torch.rand(2)).long().tolist()
        crops.append(frame[:, top : top + side, left : left + side])
    return torch.stack(crops).contiguous(memory_format=torch.channels_last)


def image_psnr(prior: ImagePrior, frames: Tensor) -> Callable[[], dict[str, float]]:
    """A validation: mean PSNR (dB) of D(E(x)) on held-out frames (N, 3, H, W)."""

    def validate() -> dict[str, float]:
        restored = prior.decode(prior.encode(frames)).clamp(-1, 1)
        return {"psnr": psnr_frames(restored[:, :, None], frames[:, :, None]).mean().item()}

    return validate


@torch.no_grad()
def standardise(prior: ImagePrior, frames: Tensor, latent_noise: float) -> None:
    """Fold the latents' statistics over `frames` into the VAE's two 1 x 1 convolutions.

    Latents then have zero mean and unit variance per channel at scaling factor 1; D(E(x)) stays
    what it was. The posterior's variance becomes the constant that the decoder was trained with.
    """
    latents = prior.encode(frames).transpose(0, 1).flatten(1) / prior.scale
    mean, spread = latents.mean(1), latents.std(1)
    quant, post = prior.vae.quant_conv, prior.vae.post_quant_conv
    channels = prior.channels
    post.bias += post.weight.flatten(1) @ mean
    post.weight *= spread.view(1, -1, 1, 1)
    quant.bias[:channels] = (quant.bias[:channels] - mean) / spread
    quant.weight[:channels] /= spread.view(-1, 1, 1, 1)
    quant.weight[channels:] = 0
    quant.bias[channels:] = 2 * torch.tensor(latent_noise).log()
    prior.vae.register_to_config(scaling_factor=1.0)
    prior.scale = 1.0


@torch.no_grad()
def encoded_frames(
    path: Path, prior: ImagePrior, clips: int, frames: int, size: tuple[int, int], seed: int
) -> Tensor:
    """Latents (clips * frames, 4, h, w), float16, of synthetic clips; read from `path` if it is there."""
    if path.exists():
        return torch.load(path, weights_only=True)
    source = SyntheticVideos(seed + BANK_SEED, frames, size)
    latents = torch.cat(
        [prior.encode(source[index]["video"].transpose(0, 1)).half() for index in range(clips)]
    )
    with replacing(path) as partial:
        torch.save(latents, partial)
    return latents


def drawn_from(latents: Tensor, batch_size: int) -> Iterator[dict]:
    """Endless random batches {"latents": (B, 4, h, w) float32}."""
    while True:
        yield {"latents": latents[torch.randint(0, len(latents), (batch_size,))].float()}


def latent_noise_loss(prior: ImagePrior, autocast: bool) -> Callable[[dict], dict[str, Tensor]]:
    """|eps - eps_theta(z_t, t)|^2 with the null prompt, t = 1000 u^2: over half below VISION-XL's tau = 300."""

    def loss_of(batch: dict) -> dict[str, Tensor]:
        latents = batch["latents"]
        timesteps = (TIMESTEPS * torch.rand(len(latents)).square()).long()
        noise = torch.randn_like(latents)
        return {"loss": _error(prior, latents, timesteps, noise, autocast)}

    return loss_of


def latent_noise_errors(
    prior: ImagePrior, latents: Tensor, autocast: bool
) -> Callable[[], dict[str, float]]:
    """A validation: the loss on held-out latents at five fixed noise levels."""
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))

    def validate() -> dict[str, float]:
        levels = {t: torch.full((len(latents),), t) for t in (41, 161, 281, 500, 900)}
        return {
            f"mse_t{t}": _error(prior, latents, times, noise, autocast).item()
            for t, times in levels.items()
        }

    return validate


def _error(
    prior: ImagePrior, latents: Tensor, timesteps: Tensor, noise: Tensor, autocast: bool
) -> Tensor:
    share = prior.alphas_cumprod[timesteps].float().view(-1, 1, 1, 1)
    noisy = (share.sqrt() * latents + (1 - share).sqrt() * noise).contiguous(
        memory_format=torch.channels_last
    )
    sides = torch.randint(SMALLEST_SIDE, LARGEST_SIDE, (len(latents), 2))
    sizes = torch.cat([sides, torch.zeros_like(sides), sides], dim=1)
    null = Embedding(prior.null_tokens, prior.null_pooled)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        predicted = prior.predict(noisy, timesteps, null, sizes)
    return F.mse_loss(predicted, noise)
