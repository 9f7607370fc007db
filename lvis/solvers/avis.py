"""AVIS and AVIS Flash (Algorithm 1): training-free restoration with a block-causal few-step prior.

Legend: B batch, T H W video, t h w latents; z latents, x video, y measurement, n the block's number.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lvis.backbone import WanTransformer, flow
from lvis.cli import values
from lvis.errors import UserError
from lvis.operators import LinearOperator, StreamState
from lvis.solvers.base import Solver, Stream, pad_to
from lvis.solvers.by_block import BlockStream
from lvis.solvers.correction import ProximalCorrection
from lvis.solvers.initial import InitialEstimate
from lvis.solvers.patchwise import draw
from lvis.vae.base import VAEState, VideoVAE

MODES = ("avis", "flash")


class AVISSolver(Solver):
    """A block-causal few-step prior (Self-Forcing's, in the paper) with its VAE.

    Args:
        transformer: the prior, an `lvis.backbone.WanTransformer` that predicts flow velocities.
        vae: of the prior's latents.
        embed_text: prompts -> (B, L, D) text embeddings.
        mode: "avis" corrects every block by the measurement (Eqs. 6 to 8), "flash" the first only.
        t0: noise level in (0, 1] at which the reverse process starts from x_init (Eq. 10); 1 is
            pure noise.
        later_t0: t0 of all blocks but the first; None is the same. 1 is the middle row of Figure 3:
            propagation without initialisation.
        K: few-step updates a block; the noise levels are t0 (1 - k / K).
        t0_warp: read the levels as indices into the schedule shifted by `shift`, as Self-Forcing
            does, rather than literally as the equations say (0.1 becomes 0.357 with shift 5).
        reinject_every: correct every n-th block in mode "flash" too (appendix A.1 has 7).
        initial, correction: Eq. 9 and Eq. 7.
        use_cache: False hides the past from the prior: Table 3 (a), without AR propagation.
        window, sink: latent frames that the KV cache keeps.

    Raises:
        UserError: an unknown mode, or numbers out of range.
    """

    def __init__(
        self,
        transformer: WanTransformer,
        vae: VideoVAE,
        embed_text: Callable[[Sequence[str]], Tensor],
        initial: InitialEstimate | None = None,
        correction: ProximalCorrection | None = None,
        mode: str = "avis",
        t0: float = 0.1,
        later_t0: float | None = None,
        K: int = 2,
        t0_warp: bool = False,
        shift: float = 5.0,
        reinject_every: int | None = None,
        use_cache: bool = True,
        block_size: int = 3,
        window: int = 21,
        sink: int = 0,
    ) -> None:
        values.one_of("mode", mode, MODES)
        for key, level in (("t0", t0), ("later_t0", later_t0)):
            if level is not None and not 0 < level <= 1:
                raise UserError(f"{key}={level} is not a noise level; use a number in (0, 1]")
        values.whole("K", K, 1)
        if reinject_every is not None:
            values.whole("reinject_every", reinject_every, 1)
        self.name = mode if mode == "avis" else "avis_flash"
        self.transformer = transformer.eval()
        self.vae = vae.eval()
        self.embed_text = embed_text
        self.initial = initial or InitialEstimate()
        self.correction = correction or ProximalCorrection()
        self.mode, self.reinject_every = mode, reinject_every
        self.t0, self.later_t0, self.K = t0, later_t0, K
        self.t0_warp, self.shift = t0_warp, shift
        self.use_cache = use_cache
        self.block_size = block_size
        self.window, self.sink = (window, sink) if use_cache else (block_size, 0)
        self.device = transformer.device
        self.stride = vae.spatial_stride * transformer.patch_size[-1]

    def corrects(self, block: int) -> bool:
        """Whether block n (from 0) is corrected by its measurement (Algorithm 1, line 9)."""
        if self.mode == "avis" or block == 0:
            return True
        return self.reinject_every is not None and block % self.reinject_every == 0

    def sigmas(self, block: int) -> list[float]:
        """The K noise levels of block n (from 0), and the 0 at which it ends."""
        start = self.t0 if block == 0 or self.later_t0 is None else self.later_t0
        levels = [start * (1 - step / self.K) for step in range(self.K)]
        return [*flow.step_sigmas(levels, self.shift, self.t0_warp), 0.0]

    def stream_type(self, operator: LinearOperator) -> type[Stream[Any]]:
        """See `Solver.stream_type`."""
        self.require_pixels(operator)
        operator.require_streamable()
        return AVISStream


class AVISStream(BlockStream[AVISSolver]):
    """One clip through Algorithm 1. All states are values, so a trial that is not kept costs nothing."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        solver, batch = self.solver, self.batch
        self.block = 0
        self._operator_state: StreamState | None = None
        self._encoder_state: VAEState = None
        self._decoder_state: VAEState = None
        # Eq. 7 with gamma 1 takes the past as exact, and its errors as the measurement's
        self._weighs_past = (
            solver.consistency is not None and self.agreement is not None and self.operator.has_past
        )
        first_frames = 1 + solver.vae.temporal_stride * (solver.block_size - 1)
        self._weight = solver.correction.weight(self.operator, (batch, 3, first_frames, *self.size))
        vae_stride = solver.vae.spatial_stride
        # line 4
        self.cache = solver.transformer.open_cache(
            batch,
            (self.padded_size[0] // vae_stride, self.padded_size[1] // vae_stride),
            solver.embed_text([self.prompt]).to(solver.device),
            block_size=solver.block_size,
            window=solver.window,
            sink=solver.sink,
        )

    def bring_to_x(self, measurement: Tensor) -> Tensor:
        """Line 2, given the restored frames before: y_n = A_n x_n + offset.

        With `consistency` and a past that A reads again, x_init knows how sure that past is.
        """
        if self.measured is None:
            self._here, offset = self.operator.block(self._operator_state, measurement.shape[2])
            self._measurement = measurement - offset
        else:
            self._here, self._measurement = self.measured.here, self.measured.measurement
            if self._weighs_past:
                return self.measured.first_estimate()
        return self.solver.initial(self._here, self._measurement)

    def restore_block(self, visible: Tensor) -> Tensor:
        solver = self.solver
        # line 3
        with self.clock("encode"):
            initial, encoder_state = self._encode(visible)
        # lines 6 to 13
        sigmas = solver.sigmas(self.block)
        noisy = flow.add_noise(initial, self._draw(initial), sigmas[0])
        for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
            with self.clock("transformer"):
                clean = self._denoise(noisy, sigma)
            if solver.corrects(self.block):
                clean, encoder_state = self._correct(clean, visible)
            if following:
                noisy = flow.add_noise(clean, self._draw(clean), following)
        # line 14
        with self.clock("decode"):
            restored, self._decoder_state = solver.vae.decode_block(clean, self._decoder_state)
        with self.clock("transformer"):
            self._remember(clean)
        self._encoder_state = encoder_state
        if self.agreement is None:
            with self.clock("operator"):
                kept = self._inside(restored.float(), self._measurement.shape[2]).clamp(-1, 1)
                self._operator_state = self.operator.advance(self._operator_state, kept)
        self.block += 1
        return restored.float()

    def _encode(self, video: Tensor) -> tuple[Tensor, VAEState]:
        return self.solver.vae.encode_block(pad_to(video, self.padded_size), self._encoder_state)

    def _denoise(self, noisy: Tensor, sigma: float) -> Tensor:
        """Eq. 4: the clean estimate of a block, given the cache."""
        level = torch.full((noisy.shape[0],), sigma, device=noisy.device)
        velocity = self.solver.transformer.step(
            noisy, flow.sigma_to_timestep(level), self.cache, commit=False
        )
        return flow.velocity_to_x0(noisy, velocity, level)

    def _correct(self, clean: Tensor, visible: Tensor) -> tuple[Tensor, VAEState]:
        """Eqs. 6 to 8: decode, correct in pixels, encode, on copies of the states.

        Frames beyond the measurement, in a last block that is not full, repeat the last corrected
        one.
        """
        with self.clock("decode"):
            decoded = self.solver.vae.decode_block(clean, self._decoder_state)[0].float()
        with self.clock("operator"):
            frames = self._measurement.shape[2]
            inside = self._inside(decoded, frames)
            if self._weighs_past:
                assert self.measured is not None
                corrected = self.measured.corrected(inside).clamp(-1, 1)
            else:
                corrected = self.solver.correction(
                    self._here, self._measurement, inside, self._weight
                )
            missing = visible.shape[2] - frames
            last = corrected[:, :, -1:].expand(-1, -1, missing, -1, -1)
            corrected = torch.cat((corrected, last), dim=2)
        with self.clock("encode"):
            return self._encode(corrected)

    def _remember(self, clean: Tensor) -> None:
        """The context pass: the keys and values of the clean block, at noise level 0."""
        if self.solver.use_cache:
            timestep = torch.zeros(clean.shape[0], device=clean.device)
            self.solver.transformer.step(clean, timestep, self.cache, commit=True)
        else:
            self.cache.commit(clean.shape[2])

    def _inside(self, video: Tensor, frames: int) -> Tensor:
        return video[:, :, :frames, : self.size[0], : self.size[1]]

    def _draw(self, like: Tensor) -> Tensor:
        return draw(tuple(like.shape), self.generator, like.device).to(like.dtype)
