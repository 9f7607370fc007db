"""Video <-> latents: the VAEs and the bridge between their latent spaces."""

from lvis.vae.base import VAEState, VideoVAE
from lvis.vae.wan import WanVAE

__all__ = ["VAEState", "VideoVAE", "WanVAE"]
