"""Video <-> latents: the VAEs and the bridge between their latent spaces."""
