"""Pretraining of the teacher: flow matching on latents, with its text encoder trained alongside.

Legend: B batch, t h w latent frames and sides.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from lvis.backbone import TextEncoder, WanTransformer, flow

PROBE_TIMESTEPS = (100, 500, 900)
PROMPT_TIMESTEP = 980  # where there is nearly nothing but the prompt to go by


class Prior(nn.Module):
    """The two nets that are trained together."""

    def __init__(self, transformer: WanTransformer, text_encoder: TextEncoder) -> None:
        super().__init__()
        self.transformer = transformer
        self.text_encoder = text_encoder

    def velocity_error(
        self, latents: Tensor, sigma: Tensor, prompts: list[str], noise: Tensor, autocast: bool
    ) -> Tensor:
        """|v - (noise - z)|^2, a mean over each clip's elements, (B,); sigma (B,) in [0, 1]."""
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=autocast):
            text = self.text_encoder(prompts)
            noisy = flow.add_noise(latents, noise, sigma)
            velocity = self.transformer(noisy, flow.sigma_to_timestep(sigma), text)
        return (velocity.float() - (noise - latents)).square().mean(dim=(1, 2, 3, 4))


def flow_matching_loss(
    prior: Prior, *, shift: float, text_dropout: float, autocast: bool
) -> Callable[[dict], dict[str, Tensor]]:
    """E |v(z_sigma, 1000 sigma, text) - (noise - z)|^2 over clips, noise and sigma (Lipman et al. 2023).

    Args:
        shift: of the training draw: sigma' = s sigma / (1 + (s - 1) sigma).
        text_dropout: share of clips whose prompt becomes "" (for classifier-free guidance).
    """

    def loss_of(batch: dict) -> dict[str, Tensor]:
        latents = batch["latents"]
        kept = torch.rand(len(batch["prompt"])) >= text_dropout
        prompts = [p if keep else "" for p, keep in zip(batch["prompt"], kept, strict=True)]
        sigma = flow.shift_sigma(torch.rand(latents.shape[0]), shift)
        noise = torch.randn_like(latents)
        return {"loss": prior.velocity_error(latents, sigma, prompts, noise, autocast).mean()}

    return loss_of


def denoising_errors(
    prior: Prior, batches: Iterable[dict], autocast: bool
) -> Callable[[], dict[str, float]]:
    """A validation: at fixed timesteps, the squared error of the clean estimate over the latents' variance.

    Predicting the mean gives 1. `prompts_help` is the share of the error at t = 980 that the clips' own prompts
    take away, against no prompt.
    """
    held_out = list(batches)

    def validate() -> dict[str, float]:
        errors = {}
        for timestep in PROBE_TIMESTEPS:
            sums, variance = [], []
            for index, batch in enumerate(held_out):
                latents = batch["latents"]
                generator = torch.Generator().manual_seed(index)
                noise = torch.randn(latents.shape, generator=generator)
                sigma = torch.full((latents.shape[0],), timestep / 1000)
                error = prior.velocity_error(latents, sigma, batch["prompt"], noise, autocast)
                sums.append((sigma.square() * error).mean())
                variance.append(latents.var())
            errors[f"error_{timestep}"] = (sum(sums) / sum(variance)).item()
        errors["prompts_help"] = prompts_help(prior, held_out, autocast)
        return errors

    return validate


def prompts_help(prior: Prior, batches: Iterable[dict], autocast: bool) -> float:
    """1 - error with the clips' own prompts / error without, at `PROMPT_TIMESTEP`."""
    told, untold = 0.0, 0.0
    for index, batch in enumerate(batches):
        latents = batch["latents"]
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(index))
        sigma = torch.full((latents.shape[0],), PROMPT_TIMESTEP / 1000)
        prompts = list(batch["prompt"])
        told += prior.velocity_error(latents, sigma, prompts, noise, autocast).sum().item()
        none = [""] * len(prompts)
        untold += prior.velocity_error(latents, sigma, none, noise, autocast).sum().item()
    return 1 - told / untold
