"""Batch-consistent noise: what all frames share, and what is each frame's own (SVI and VISION-XL)."""

from torch import Tensor


def renoise(
    clean: Tensor, predicted_noise: Tensor, shared_noise: Tensor, alpha_bar: float, eta: float
) -> Tensor:
    """sqrt(a) clean + sqrt(1 - a) (eta shared + sqrt(1 - eta^2) predicted); shared is broadcast over frames."""
    noise = eta * shared_noise + (1 - eta**2) ** 0.5 * predicted_noise
    return alpha_bar**0.5 * clean + (1 - alpha_bar) ** 0.5 * noise
