"""The block-causal few-step prior: diffusion forcing from the teacher, then consistency distillation.

Diffusion forcing (Chen et al. 2024) gives every block a noise level of its own, so that one masked pass
learns to denoise a block after a clean past, which is what a stream does. Consistency distillation (Song
et al. 2023) then teaches one step what many steps of the result would reach, so that few are enough.

Legend: B clips, t h w latent frames and sides; b latent frames per block.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from lvis.backbone import TextEncoder, WanTransformer, flow
from lvis.pretrain.prior import PROBE_TIMESTEPS


class BlockCausal(nn.Module):
    """A transformer that is trained through its block-causal mask, and a text encoder that is not."""

    def __init__(
        self, transformer: WanTransformer, text_encoder: TextEncoder, block_size: int
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.text_encoder = text_encoder.requires_grad_(False)
        self.block_size = block_size

    def velocity(self, noisy: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        """v of noisy latents (B, 16, t, h, w) with a level per frame, sigma (B, t)."""
        timestep = flow.sigma_to_timestep(sigma)
        return self.transformer(noisy, timestep, text, block_size=self.block_size)

    def clean(self, noisy: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        """The clean estimate; at level 0 the input itself."""
        return flow.velocity_to_x0(noisy, self.velocity(noisy, sigma, text), sigma)


def block_levels(levels: Tensor, clean_share: float, frames: int, block_size: int) -> Tensor:
    """One level per block for all of its frames, (B, t); a share of the blocks is clean, at level 0.

    Args:
        levels: (B, blocks), drawn.
    """
    keep = torch.rand(levels.shape) >= clean_share
    return (levels * keep).repeat_interleave(block_size, dim=1)[:, :frames]


def over_noisy(error: Tensor, sigma: Tensor) -> Tensor:
    """The mean of error (B, C, t, h, w) over frames whose level (B, t) is not 0."""
    weight = (sigma > 0).float()
    return (error.mean(dim=(1, 3, 4)) * weight).sum() / weight.sum().clamp_min(1)


def forcing_loss(
    prior: BlockCausal, *, shift: float, clean_share: float, text_dropout: float
) -> Callable[[dict], dict[str, Tensor]]:
    """E |v(z_sigma, past) - (noise - z)|^2, each block at its own shifted uniform level."""

    def loss_of(batch: dict) -> dict[str, Tensor]:
        latents = batch["latents"]
        text = _embed(prior, batch["prompt"], text_dropout)
        blocks = -(-latents.shape[2] // prior.block_size)
        levels = flow.shift_sigma(torch.rand(latents.shape[0], blocks), shift)
        sigma = block_levels(levels, clean_share, latents.shape[2], prior.block_size)
        noise = torch.randn_like(latents)
        velocity = prior.velocity(flow.add_noise(latents, noise, sigma), sigma, text)
        return {"loss": over_noisy((velocity - (noise - latents)).square(), sigma)}

    return loss_of


def consistency_loss(
    prior: BlockCausal,
    teacher: BlockCausal,
    *,
    steps: int,
    shift: float,
    clean_share: float,
    text_dropout: float,
) -> Callable[[dict], dict[str, Tensor]]:
    """E |f(z_sigma) - sg f(z_sigma')|^2, z_sigma' one Euler step of the teacher below z_sigma.

    f is `BlockCausal.clean`, which is the identity at level 0, as a consistency function must be. The
    target has the student's own weights, without gradient (Song and Dhariwal 2024: no average of them is
    needed).

    Args:
        teacher: the result of diffusion forcing, frozen.
        steps: levels of the teacher's path from noise to clean.
        shift: of those levels.
    """
    grid = flow.shift_sigma(torch.linspace(0, 1, steps + 1), shift)

    def loss_of(batch: dict) -> dict[str, Tensor]:
        latents = batch["latents"]
        text = _embed(prior, batch["prompt"], text_dropout)
        blocks = -(-latents.shape[2] // prior.block_size)
        index = torch.randint(1, steps + 1, (latents.shape[0], blocks))
        sigma = block_levels(grid[index], clean_share, latents.shape[2], prior.block_size)
        lower = grid[(torch.searchsorted(grid, sigma) - 1).clamp_min(0)]
        noisy = flow.add_noise(latents, torch.randn_like(latents), sigma)
        with torch.no_grad():
            change = flow.level_of(lower - sigma, noisy)
            stepped = noisy + change * teacher.velocity(noisy, sigma, text)
            target = prior.clean(stepped, lower, text)
        estimate = prior.clean(noisy, sigma, text)
        return {"loss": over_noisy((estimate - target).square(), sigma)}

    return loss_of


def streaming_errors(prior: BlockCausal, batches: Iterable[dict]) -> Callable[[], dict[str, float]]:
    """A validation: of a clip's last block, after a clean past, the one-step clean estimate's squared error
    over the latents' variance, at fixed levels. Predicting the mean gives 1."""
    held_out = list(batches)

    def validate() -> dict[str, float]:
        errors = {}
        for timestep in PROBE_TIMESTEPS:
            sums, variance = [], []
            for index, batch in enumerate(held_out):
                latents = batch["latents"]
                generator = torch.Generator().manual_seed(index)
                noise = torch.randn(latents.shape, generator=generator)
                sigma = torch.zeros(latents.shape[0], latents.shape[2])
                sigma[:, -prior.block_size :] = timestep / 1000
                text = prior.text_encoder(batch["prompt"])
                clean = prior.clean(flow.add_noise(latents, noise, sigma), sigma, text)
                last = slice(-prior.block_size, None)
                sums.append((clean[:, :, last] - latents[:, :, last]).square().mean())
                variance.append(latents.var())
            errors[f"error_{timestep}"] = (sum(sums) / sum(variance)).item()
        return errors

    return validate


@torch.no_grad()
def _embed(prior: BlockCausal, prompts: list[str], dropout: float) -> Tensor:
    kept = torch.rand(len(prompts)) >= dropout
    return prior.text_encoder([p if k else "" for p, k in zip(prompts, kept, strict=True)])
