"""Classifier-free guidance, and an Euler sampler to look at what a transformer has learnt."""

import torch
from torch import Tensor

from lvis.backbone.flow import shift_sigma, sigma_to_timestep
from lvis.backbone.transformer import WanTransformer
from lvis.errors import UserError

CONVENTIONS = ("standard", "causvid")


def guided_velocity(
    transformer: WanTransformer,
    latents: Tensor,
    timestep: Tensor,
    text: Tensor,
    null_text: Tensor,
    scale: float,
    convention: str = "standard",
) -> Tensor:
    """The guided velocity, from one forward pass over both conditions.

    Args:
        latents: (B, 16, t, h, w).
        timestep: float32 (B,) or (B, t) in [0, 1000].
        text, null_text: (B or 1, L, text_dim).
        convention: "standard" is null + scale (text - null), where 1 is no guidance; "causvid"
            (CausVid, InstantViR) is text + scale (text - null), where 0 is none, so that its 3.5
            is the standard 4.5.

    Raises:
        UserError: an unknown convention.
    """
    if convention not in CONVENTIONS:
        raise UserError(
            f"guidance convention {convention!r} is unknown; use one of {', '.join(CONVENTIONS)}"
        )
    weight = scale + 1 if convention == "causvid" else scale
    batch_size = latents.shape[0]
    text = transformer.pad_text(text).expand(batch_size, -1, -1)
    if weight == 1:
        return transformer(latents, timestep, text)
    null_text = transformer.pad_text(null_text).expand(batch_size, -1, -1)
    both = transformer(
        torch.cat((latents, latents)),
        torch.cat((timestep, timestep)),
        torch.cat((text, null_text.to(text))),
    )
    conditional, unconditional = both.chunk(2)
    return torch.lerp(unconditional, conditional, weight)


@torch.no_grad()
def sample(
    transformer: WanTransformer,
    shape: tuple[int, int, int, int, int],
    text: Tensor,
    null_text: Tensor,
    steps: int = 50,
    shift: float = 5.0,
    scale: float = 5.0,
    generator: torch.Generator | None = None,
    convention: str = "standard",
) -> Tensor:
    """Latents drawn by the bidirectional model: Euler from sigma 1 to 0 on the shifted schedule.

    Args:
        shape: (B, 16, t, h, w).
        generator: on the transformer's device.

    Returns:
        float32 latents of `shape`.
    """
    device = transformer.device
    latents = torch.randn(shape, generator=generator, device=device)
    sigmas = shift_sigma(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift)
    for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
        timestep = sigma_to_timestep(sigma).expand(shape[0]).to(device)
        velocity = guided_velocity(
            transformer, latents, timestep, text, null_text, scale, convention
        )
        latents = latents + float(following - sigma) * velocity
    return latents
