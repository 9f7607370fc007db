"""Video <-> latents: the VAEs and the bridge between their latent spaces."""

from lvis.vae.base import VAEState, VideoVAE
from lvis.vae.bridge import Bridge
from lvis.vae.lean import LeanVAE
from lvis.vae.tae import TAE
from lvis.vae.wan import WanVAE

__all__ = ["TAE", "Bridge", "LeanVAE", "VAEState", "VideoVAE", "WanVAE"]
