"""Initialisation of the block-causal student on the teacher's own trajectories (an option, ours).

Before the distillation, whose student starts with weights that only ever attended in both directions. Two ways to
accustom it to its mask, both without a clip: the teacher's guided ODE is solved from noise, and at points of that
path, one per block,

- "ode": the student predicts the path's end (CausVid, Yin et al. 2025, section 4.3);
- "consistency": it predicts what it itself predicts one point further (Song et al. 2023), the end being fixed.

Legend: B clips, t latent frames, K levels of the path.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lvis.backbone import flow
from lvis.operators.draws import Draw, drawn

INITIALISATIONS = ("none", "ode", "consistency")

Velocity = Callable[[Tensor, Tensor], Tensor]  # (latents, timestep (B,) or (B, t)) -> v


@torch.no_grad()
def trajectory(noise: Tensor, velocity: Velocity, sigmas: Tensor) -> Tensor:
    """The path of the flow's ODE by Euler's method, (K + 1, B, C, t, h, w), from noise to clean latents.

    Args:
        noise: (B, C, t, h, w), float32.
        sigmas: (K + 1,), from 1 to 0.
    """
    points = [noise]
    for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
        timestep = (1000 * sigma).expand(len(noise)).to(noise)
        points.append(points[-1] + (following - sigma) * velocity(points[-1], timestep))
    return torch.stack(points)


def block_points(batch: int, frames: int, block_size: int, levels: int, generators: Draw) -> Tensor:
    """A point of the path for each block, 0 .. K - 1, for all of its frames: (B, t)."""

    def of_one(count: int, generator: torch.Generator | None) -> Tensor:
        return torch.randint(levels, (count, -(-frames // block_size)), generator=generator)

    return drawn(generators, batch, of_one).repeat_interleave(block_size, dim=1)[:, :frames]


def at(path: Tensor, index: Tensor) -> Tensor:
    """The points `index` (B, t) of a path, (B, C, t, h, w)."""
    chosen = index[None, :, None, :, None, None].expand(1, *path.shape[1:])
    return path.gather(0, chosen)[0]


def initial_loss(
    kind: str, path: Tensor, sigmas: Tensor, index: Tensor, velocity: Velocity
) -> Tensor:
    """The mean squared error of the clean latents that the student predicts.

    Args:
        kind: "ode" or "consistency".
        path, sigmas: see `trajectory`.
        index: (B, t), the point of each frame, 0 .. K - 1.
        velocity: the student's, block-causal.
    """

    def clean(points: Tensor) -> Tensor:
        sigma = sigmas.to(path)[points]
        return flow.velocity_to_x0(
            at(path, points), velocity(at(path, points), 1000 * sigma), sigma
        )

    aim = path[-1]
    if kind == "consistency":
        with torch.no_grad():
            # at level 0 the prediction is the point itself, the path's end
            aim = clean(index + 1)
    return (clean(index) - aim).square().mean()
