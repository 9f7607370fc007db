"""LVTINO: a video and an image consistency prior take turns, each followed by the measurement's proximal map.

Legend: B batch, T H W video, t h w latents; x video, y measurement, z latents, i the step.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lvis.backbone import WanTransformer, flow
from lvis.backbone.ddim import tweedie
from lvis.cli import values
from lvis.errors import UserError
from lvis.operators import LinearOperator
from lvis.solvers.base import Solver, Stream, pad_to
from lvis.solvers.blocks import repeat_last
from lvis.solvers.frame_prior import FramePrior, FramewisePrior
from lvis.solvers.patchwise import draw
from lvis.solvers.whole_clip import WholeClipStream
from lvis.vae.base import VideoVAE

ATTENTION = ("bidirectional", "causal")
# the standard deviation of the noise that the released weights of the proximal steps are tuned for
TUNED_NOISE_STD = 0.001


class LVTINOSolver(Solver):
    """Each prior's turn: encode, add noise, jump to the clean latents, decode, correct (released code's values).

    Args:
        transformer: the few-step video prior, which predicts flow velocities.
        vae: of its latents.
        embed_text: prompts -> (B, L, D) text embeddings.
        image_prior: of frames.
        levels: the video prior's timesteps, one per step, descending in (0, 1000).
        image_levels: the image prior's, one before each step but the first.
        video_gammas: weight of the measurement after each of the video prior's turns but the last.
        image_gammas: and after each of the image prior's.
        initial_gamma: and of the first estimate, prox(0).
        shift: of the schedule whose levels are nearest to `levels`; CausVid's 8.
        attention: "bidirectional" as CausVid's prior, or "causal" for a prior that was trained with
            a block-causal mask.
        block_size: latent frames per block of "causal".
        default_prompt: where the stream is opened without one; for the video prior.

    Raises:
        UserError: a setting out of range, or lists whose lengths do not match.
    """

    name = "lvtino"

    def __init__(
        self,
        transformer: WanTransformer,
        vae: VideoVAE,
        embed_text: Callable[[Sequence[str]], Tensor],
        image_prior: FramePrior,
        levels: Sequence[int] = (757, 522, 375, 255, 125),
        image_levels: Sequence[int] = (374, 249, 124, 124),
        video_gammas: Sequence[float] = (3539, 3539, 1363, 1363),
        image_gammas: Sequence[float] = (16868, 16868, 2721, 2721),
        initial_gamma: float = 200.0,
        shift: float = 8.0,
        attention: str = "bidirectional",
        block_size: int = 3,
        default_prompt: str = "a high resolution video",
    ) -> None:
        check_levels("levels", levels)
        check_levels("image_levels", image_levels)
        for key, given, count in (
            ("image_levels", image_levels, len(levels) - 1),
            ("video_gammas", video_gammas, len(levels) - 1),
            ("image_gammas", image_gammas, len(levels) - 1),
        ):
            if len(given) != count:
                raise UserError(
                    f"solver.{key} has {len(given)} values and solver.levels has {len(levels)}; "
                    f"give {key} {count}"
                )
        values.positive("solver.video_gammas", min(video_gammas, default=1))
        values.positive("solver.image_gammas", min(image_gammas, default=1))
        values.positive("solver.initial_gamma", initial_gamma)
        values.one_of("solver.attention", attention, ATTENTION)
        self.transformer, self.vae = transformer.eval(), vae.eval()
        self.embed_text, self.image_prior = embed_text, image_prior
        self.levels, self.image_levels = list(levels), list(image_levels)
        self.video_gammas, self.image_gammas = list(video_gammas), list(image_gammas)
        self.initial_gamma = initial_gamma
        self.shift = shift
        self.block_size = block_size
        self.masked_blocks = block_size if attention == "causal" else None
        self.default_prompt = default_prompt
        self.device = transformer.device
        self.stride = vae.spatial_stride * transformer.patch_size[-1]

    def stream_type(self, operator: LinearOperator) -> type[Stream[Any]]:
        """See `Solver.stream_type`."""
        self.require_pixels(operator)
        self.require_adjoint(operator)
        return LVTINOStream


class LVTINOStream(WholeClipStream[LVTINOSolver]):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        text = self.solver.embed_text([self.prompt or self.solver.default_prompt]).to(self.device)
        self._text = text.expand(self.batch, -1, -1)
        # the likelihood of Gaussian noise weighs 1 / noise_std^2
        noise_std = max(self.operator.noise_std, TUNED_NOISE_STD)
        self._trust = (TUNED_NOISE_STD / noise_std) ** 2

    def restore_clip(self, measurement: Tensor) -> Tensor:
        solver, frames = self.solver, measurement.shape[2]
        shape = (self.batch, 3, frames, *self.size)
        images = FramewisePrior(solver.image_prior)
        x = self._prox(torch.zeros(shape, device=self.device), measurement, solver.initial_gamma)
        last = len(solver.levels) - 1
        for i, level in enumerate(solver.levels):
            if i:
                x = self._image_turn(x, images, solver.image_levels[i - 1])
                x = self._prox(x, measurement, solver.image_gammas[i - 1])
            x = self._video_turn(x, level)
            if i < last:
                x = self._prox(x, measurement, solver.video_gammas[i])
        # every turn takes the whole clip through all three
        turns = dict.fromkeys(("video_prior", "video_encoder", "video_decoder"), len(solver.levels))
        whole = {name: count * self.batch * frames for name, count in turns.items()}
        self.count_passes({**whole, **images.passes}, frames)
        return x

    def _prox(self, x: Tensor, measurement: Tensor, gamma: float) -> Tensor:
        return self.operator.prox(x, measurement, self._trust * gamma).clamp(-1, 1)

    def _video_turn(self, x: Tensor, level: int) -> Tensor:
        """D(f(E(x) with noise)), f the consistency function of Wan's latents."""
        solver, frames = self.solver, x.shape[2]
        stride = solver.vae.temporal_stride
        with self.clock("encode"):
            padded = pad_to(repeat_last(x, 1 - (1 - frames) // stride * stride), self.padded_size)
            clean = solver.vae.encode(padded)
        sigma = flow.nearest_table_sigma(torch.tensor([float(level)]), solver.shift)
        sigma = sigma.to(self.device).expand(self.batch)
        noise = draw(tuple(clean.shape), self.generator, self.device).to(clean.dtype)
        noisy = flow.add_noise(clean, noise, sigma)
        with self.clock("transformer"):
            velocity = solver.transformer(
                noisy,
                torch.full((self.batch,), float(level), device=self.device),
                self._text,
                block_size=solver.masked_blocks,
            )
        clean = flow.velocity_to_x0(noisy, velocity, sigma)
        with self.clock("decode"):
            decoded = solver.vae.decode(clean).float()
        return decoded[:, :, :frames, : self.size[0], : self.size[1]].clamp(-1, 1)

    def _image_turn(self, x: Tensor, images: FramewisePrior, level: int) -> Tensor:
        """The same of every frame's latents, all frames with one noise."""
        with self.clock("encode"):
            clean = images.encode(x)
        share = images.prior.alpha_bar(level)
        one = (self.batch, clean.shape[1], 1, *clean.shape[3:])
        noise = draw(one, self.generator, self.device).to(clean.dtype)
        noisy = share**0.5 * clean + (1 - share) ** 0.5 * noise
        with self.clock("transformer"):
            clean = tweedie(noisy, images.noise(noisy, level), share)
        with self.clock("decode"):
            return images.decode(clean, self.size)


def check_levels(key: str, levels: Sequence[int]) -> None:
    """Raises UserError unless there are levels, all in (0, 1000), none above the one before."""
    ordered = all(one >= other for one, other in zip(levels, levels[1:], strict=False))
    if not levels or not ordered or not all(0 < level < flow.NUM_TIMESTEPS for level in levels):
        raise UserError(
            f"solver.{key}={list(levels)} are not descending timesteps; "
            f"give whole numbers from 1 to {flow.NUM_TIMESTEPS - 1}"
        )
