"""The bridge between two latent spaces: student latents -> D' -> video -> E -> teacher latents.

InstantViR (section 3, "teacher-space regularised distillation"): the student lives in the latents
of a lean VAE, the teacher and the critic in those of Wan's; the loss passes through D' and E.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.checkpoint import checkpoint

from lvis.errors import UserError
from lvis.vae.base import VAEState, VideoVAE


class Bridge(nn.Module):
    """Student latents -> video -> teacher latents, differentiable; the VAEs are used as they are.

    Args:
        student_vae: its decoder is D'.
        teacher_vae: its encoder is E; the same object as student_vae makes the bridge the identity.
        checkpointing: go block by block and recompute activations in the backward pass, so that the
            memory for activations is that of one block and not of the clip, with and without a graph.
        block_size: latent frames per block when checkpointing.
        group: blocks per group when checkpointing: within a group the VAE's states are recomputed
            too, which costs one more forward pass of the VAE and keeps the states of one group
            and those between groups instead of all. 1 keeps all.

    The video between D' and E is not clamped, so that its gradient vanishes nowhere.

    Raises:
        UserError: if the two VAEs differ in temporal stride, or block_size or group < 1.
    """

    def __init__(
        self,
        student_vae: VideoVAE,
        teacher_vae: VideoVAE,
        *,
        checkpointing: bool = False,
        block_size: int = 3,
        group: int = 1,
    ) -> None:
        super().__init__()
        if student_vae.temporal_stride != teacher_vae.temporal_stride:
            raise UserError(
                f"the student's VAE has temporal stride {student_vae.temporal_stride}, the "
                f"teacher's {teacher_vae.temporal_stride}: a bridge needs the same."
            )
        if block_size < 1:
            raise UserError(f"block_size {block_size} of the bridge is below 1: use 3.")
        self.student_vae = student_vae
        self.teacher_vae = teacher_vae
        self.checkpointing = checkpointing
        if group < 1:
            raise UserError(f"group {group} of the bridge is below 1: use 1 to keep every state.")
        self.block_size = block_size
        self.group = group

    @property
    def is_identity(self) -> bool:
        """Whether student and teacher share one VAE, so that their latents are the same."""
        return self.student_vae is self.teacher_vae

    def to_video(self, student_latents: Tensor) -> Tensor:
        """D': student latents (B, C, t, h, w) -> video (B, 3, 1 + 4 (t - 1), H, W), not clamped.

        Raises:
            UserError: if the latents do not fit the student's VAE.
        """
        return self.decode(self.student_vae, student_latents)

    def to_teacher(self, video: Tensor) -> Tensor:
        """E: video (B, 3, 1 + 4k, H, W) -> teacher latents (B, C, 1 + k, h, w).

        Raises:
            UserError: if the video does not fit the teacher's VAE.
        """
        return self.encode(self.teacher_vae, video)

    def decode(self, vae: VideoVAE, latents: Tensor) -> Tensor:
        """`vae.decode`, block by block when checkpointing."""
        if not self.checkpointing:
            return vae.decode(latents)
        return _through_blocks(vae.decode_block, latents.split(self.block_size, dim=2), self.group)

    def encode(self, vae: VideoVAE, video: Tensor) -> Tensor:
        """`vae.encode`, block by block when checkpointing."""
        if not self.checkpointing:
            return vae.encode(video)
        vae.check_video(video, begins=True)
        frames = vae.video_frames(self.block_size)
        later = video[:, :, frames:].split(self.block_size * vae.temporal_stride, 2)
        blocks = (video[:, :, :frames], *(block for block in later if block.shape[2]))
        return _through_blocks(vae.encode_block, blocks, self.group)

    def forward(self, student_latents: Tensor) -> tuple[Tensor, Tensor]:
        """Student latents -> (video, teacher latents), differentiable.

        If `is_identity`, the teacher latents are the student latents themselves: E(D(z)) would add
        the error of a round trip. Where the video is not needed, skip this call altogether.

        Raises:
            UserError: if the latents do not fit the student's VAE.
        """
        video = self.to_video(student_latents)
        return video, student_latents if self.is_identity else self.to_teacher(video)


RunBlock = Callable[[Tensor, VAEState], tuple[Tensor, VAEState]]


def _through_blocks(run_block: RunBlock, blocks: tuple[Tensor, ...], group: int = 1) -> Tensor:
    """A stream in which each block's activations are recomputed in the backward pass, if there is one.

    A checkpoint keeps the state that it began from, and the states of a clip are what is left. With
    `group` above 1 they are recomputed too: the states between groups of this many blocks are kept,
    and in the backward pass those within the group that it is in.
    """
    differentiable = torch.is_grad_enabled() and blocks[0].requires_grad
    outputs: list[Tensor] = []
    state: VAEState = None
    for first in range(0, len(blocks), group):
        members = blocks[first : first + group]
        if differentiable and len(members) > 1:
            output, state = _checkpoint(partial(_run_group, run_block), members, state)
        else:
            output, state = _run_group(run_block, members, state)
        outputs.append(output)
    return torch.cat(outputs, dim=2)


def _run_group(
    run_block: RunBlock, blocks: tuple[Tensor, ...], state: VAEState
) -> tuple[Tensor, VAEState]:
    outputs: list[Tensor] = []
    for block in blocks:
        if torch.is_grad_enabled() and block.requires_grad:
            output, state = _checkpoint(run_block, block, state)
        else:
            output, state = run_block(block, state)
        outputs.append(output)
    return torch.cat(outputs, dim=2), state


def _checkpoint(run: Callable[..., Any], *arguments: Any) -> Any:
    leaves, structure = tree_flatten(arguments)

    def run_flat(*flat: Any) -> Any:
        return run(*tree_unflatten(flat, structure))

    # tensors as arguments of their own: those inside of tuples a checkpoint within another would keep.
    # The VAEs draw no random numbers, so there is no generator state to restore
    return checkpoint(run_flat, *leaves, use_reentrant=False, preserve_rng_state=False)
