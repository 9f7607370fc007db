"""Classifier-free guidance."""

import torch
from torch import Tensor

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
