"""The bridge between two latent spaces: student latents -> D' -> video -> E -> teacher latents.

InstantViR (section 3, "teacher-space regularised distillation"): the student lives in the latents
of a lean VAE, the teacher and the critic in those of Wan's; the loss passes through D' and E.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
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
        block_size: latent frames a block when checkpointing.

    The video between D' and E is not clamped, so that its gradient vanishes nowhere.

    Raises:
        UserError: if the two VAEs differ in temporal stride, or block_size < 1.
    """

    def __init__(
        self,
        student_vae: VideoVAE,
        teacher_vae: VideoVAE,
        *,
        checkpointing: bool = False,
        block_size: int = 3,
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
        self.block_size = block_size

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
        return _through_blocks(vae.decode_block, latents.split(self.block_size, dim=2))

    def encode(self, vae: VideoVAE, video: Tensor) -> Tensor:
        """`vae.encode`, block by block when checkpointing."""
        if not self.checkpointing:
            return vae.encode(video)
        vae.check_video(video, begins=True)
        frames = vae.video_frames(self.block_size)
        later = video[:, :, frames:].split(self.block_size * vae.temporal_stride, 2)
        blocks = (video[:, :, :frames], *(block for block in later if block.shape[2]))
        return _through_blocks(vae.encode_block, blocks)

    def forward(self, student_latents: Tensor) -> tuple[Tensor, Tensor]:
        """Student latents -> (video, teacher latents), differentiable.

        If `is_identity`, the teacher latents are the student latents themselves: E(D(z)) would add
        the error of a round trip. Where the video is not needed, skip this call altogether.

        Raises:
            UserError: if the latents do not fit the student's VAE.
        """
        video = self.to_video(student_latents)
        return video, student_latents if self.is_identity else self.to_teacher(video)


def _through_blocks(
    run_block: Callable[[Tensor, VAEState], tuple[Tensor, VAEState]], blocks: tuple[Tensor, ...]
) -> Tensor:
    """A stream in which each block's activations are recomputed in the backward pass, if there is one."""
    outputs: list[Tensor] = []
    state: Any = None
    for block in blocks:
        if torch.is_grad_enabled() and blocks[0].requires_grad:
            # the VAEs draw no random numbers, so there is no generator state to restore
            output, state = checkpoint(
                run_block, block, state, use_reentrant=False, preserve_rng_state=False
            )
        else:
            output, state = run_block(block, state)
        outputs.append(output)
    return torch.cat(outputs, dim=2)
