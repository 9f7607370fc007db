"""Pretraining of the teacher: flow matching on latents, with its text encoder trained alongside.

Legend: B batch, t h w latent frames and sides.
"""

import lightning
import torch
from torch import Tensor, nn

from lvis.backbone import flow
from lvis.pretraining.schedule import adamw_cosine

PROBE_TIMESTEPS = (100, 500, 900)


class PriorPretraining(lightning.LightningModule):
    """E |v(z_sigma, 1000 sigma, text) - (noise - z)|^2 over clips, noise and sigma (Lipman et al. 2023).

    transformer      lvis.backbone.WanTransformer, run bidirectionally
    text_encoder     trained with it; its parameters get the same rate
    shift            timestep shift of the training draw: sigma' = s sigma / (1 + (s - 1) sigma)
    text_dropout     share of clips whose prompt is replaced by "" (for classifier-free guidance)
    """

    def __init__(
        self,
        transformer: nn.Module,
        text_encoder: nn.Module,
        *,
        learning_rate: float,
        steps: int,
        shift: float = 1.5,
        text_dropout: float = 0.15,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.text_encoder = text_encoder
        self.learning_rate = learning_rate
        self.steps = steps
        self.shift = shift
        self.text_dropout = text_dropout

    def training_step(self, batch: dict, batch_index: int) -> Tensor:
        latents = batch["latents"]
        keep = torch.rand(len(batch["prompt"])) >= self.text_dropout
        text = self.text_encoder(
            [p if k else "" for p, k in zip(batch["prompt"], keep, strict=True)]
        )
        sigma = flow.shift_sigma(torch.rand(latents.shape[0], device=latents.device), self.shift)
        loss = self._velocity_error(latents, sigma, text, torch.randn_like(latents)).mean()
        self.log("loss", loss, prog_bar=True, batch_size=latents.shape[0])
        return loss

    def _velocity_error(self, latents: Tensor, sigma: Tensor, text: Tensor, noise: Tensor) -> Tensor:
        """Squared velocity error a clip, (B,)."""
        noisy = flow.add_noise(latents, noise, sigma)
        velocity = self.transformer(noisy, flow.sigma_to_timestep(sigma), text)
        return (velocity.float() - (noise - latents)).square().mean(dim=(1, 2, 3, 4))

    def validation_step(self, batch: dict, batch_index: int) -> None:
        """Squared error of the clean estimate at fixed timesteps; predicting the mean gives 1 (unit variance)."""
        latents = batch["latents"]
        text = self.text_encoder(batch["prompt"])
        generator = torch.Generator().manual_seed(batch_index)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        for timestep in PROBE_TIMESTEPS:
            sigma = torch.full((latents.shape[0],), timestep / 1000, device=latents.device)
            velocity_error = self._velocity_error(latents, sigma, text, noise)
            clean_error = (sigma.square() * velocity_error).mean()
            relative = clean_error / latents.var()
            self.log(f"val_clean_error_{timestep}", relative, batch_size=latents.shape[0])
            self.log(
                f"val_velocity_error_{timestep}", velocity_error.mean(), batch_size=latents.shape[0]
            )

    def configure_optimizers(self) -> dict:
        return adamw_cosine(
            [*self.transformer.parameters(), *self.text_encoder.parameters()],
            learning_rate=self.learning_rate,
            steps=self.steps,
            warmup_steps=200,
        )
