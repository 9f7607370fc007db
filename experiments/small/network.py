"""The student of `small` with its VAE, and a clip restored as a stream restores it, with gradients."""

from typing import Any

import torch
from torch import Tensor, nn

from lvis.backbone import WanTransformer
from lvis.operators import Composition, LinearOperator
from lvis.solvers.agreement import blocks_of, corrected_clip
from lvis.solvers.consistency import Consistency
from lvis.solvers.shrinkage import estimated_noise, without_noise
from lvis.solvers.signature import (
    CHANNELS,
    condition,
    latent_share,
    noise_timestep,
    responses,
)
from lvis.vae import LeanVAE
from lvis.weights import load_text_encoder, load_transformer

TAU = 0.03
BLOCK_SIZE = 3
TEXT_LENGTH = 32
TEACHER = "bundled:tiny/teacher"
TRANSFORMER: dict[str, Any] = {
    "num_attention_heads": 4,
    "attention_head_dim": 32,
    "num_layers": 7,
    "ffn_dim": 384,
    "text_dim": 64,
    "text_len": TEXT_LENGTH,
    "in_channels": 16 + CHANNELS,
    "out_channels": 16,
}
PATCHES = "net.patch_embedding.weight"


class Student(nn.Module):
    """Transformer and VAE, which are trained together; see `lvis.solvers.student`."""

    text: Tensor

    def __init__(self, vae: LeanVAE) -> None:
        super().__init__()
        self.vae, self.transformer = vae, new_transformer()
        vae.encode_dtype = vae.decode_dtype = torch.bfloat16
        encoder = load_text_encoder("bundled:tiny/text_encoder", text_len=TEXT_LENGTH)
        self.register_buffer("text", encoder([""]).detach(), persistent=False)
        self.consistency = Consistency(TAU)

    def forward(
        self, operator: LinearOperator, y: Tensor, blind: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What is given out, x_init, and x_init through the VAE, each (B, 3, T, H, W).

        Args:
            operator: realised; not read where `blind`.
            y: of x's shape where `blind`.
        """
        bands, observed, blocks = None, None, []
        if blind:
            noise = estimated_noise(y)
            estimate = without_noise(y, noise).clamp(-1, 1)
        else:
            noise = operator.noise_std
            pairs = blocks_of(operator, y, self.consistency, BLOCK_SIZE)
            blocks = [block.explained_by(x) for block, x in pairs]
            estimate = torch.cat([x for _, x in pairs], dim=2)
            gamma = Consistency().gamma(operator)
            bands = responses(operator, gamma, tuple(estimate.shape)).view(1, -1)
            observed = observed_share(operator, estimate.shape, y.shape)
        z = self.vae.encode(estimate)
        timestep = torch.full((len(z),), noise_timestep(noise))
        with torch.autocast("cpu", torch.bfloat16):
            text = self.text.expand(len(z), -1, -1)
            seen = condition(z, bands, observed)
            velocity = self.transformer(seen, timestep, text, block_size=BLOCK_SIZE).float()
        changed, unchanged = self.vae.decode(torch.cat((z + velocity, z))).chunk(2)
        x_hat = estimate + changed - unchanged
        return x_hat if blind else corrected_clip(blocks, x_hat), estimate, unchanged


def observed_share(
    operator: LinearOperator, x_shape: torch.Size, y_shape: torch.Size
) -> Tensor | None:
    """The share of each latent cell that a mask shows; None where nothing is hidden."""
    outer = operator.outer if isinstance(operator, Composition) else operator
    missing = outer.missing(x_shape) if y_shape == x_shape else None
    if missing is None:
        return None
    return 1 - latent_share(missing.expand(-1, -1, x_shape[2], -1, -1))


def new_transformer() -> WanTransformer:
    """The tiny teacher with the operator's channels, which begin at zero, and no output yet."""
    transformer = WanTransformer(**TRANSFORMER)
    state = load_transformer(TEACHER, text_len=TEXT_LENGTH).state_dict()
    weight = state[PATCHES]
    state[PATCHES] = torch.cat(
        (weight, weight.new_zeros(len(weight), CHANNELS, *weight.shape[2:])), 1
    )
    transformer.load_state_dict(state)
    for parameter in transformer.net.proj_out.parameters():
        nn.init.zeros_(parameter)
    return transformer.float()
