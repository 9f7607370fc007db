"""InstantViR's student: one transformer pass a block (supplement, Algorithm 2)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lvis.backbone import WanTransformer
from lvis.cli import values
from lvis.errors import UserError
from lvis.operators import LinearOperator, StreamState
from lvis.solvers.base import Solver, Stream, pad_to
from lvis.solvers.blocks import repeat_last
from lvis.solvers.by_block import BlockInverse, BlockStream
from lvis.solvers.consistency import Consistency
from lvis.solvers.low_resolution import check_sides, upsampled
from lvis.solvers.one_step import student_prediction
from lvis.solvers.signature import (
    CHANNELS,
    condition,
    latent_share,
    noise_timestep,
    responses,
    shown_mask,
)
from lvis.solvers.whole_clip import WholeClipStream
from lvis.vae.base import VAEState, VideoVAE

X_INIT = ("lift", "pinv", "estimate", "latents")
X_HAT = ("direct", "residual")


class StudentSolver(Solver):
    """A distilled one-step student with its VAE.

    Args:
        transformer: the student, an `lvis.backbone.WanTransformer`.
        vae: the VAE it was distilled with.
        embed_text: prompts -> (B, L, D) text embeddings.
        timestep: of the one step, [0, 1000]. The paper writes t = 0; with the flow parametrization
            that leaves z_in unchanged, so the default is the release's 522.
        parametrization: see `student_prediction`.
        x_init: what is encoded, "lift" (the measurement brought to x's shape), "pinv" (its
            pseudo-inverse), "estimate" (`MeasuredBlock.first_estimate`, ours) or "latents" (a
            low-resolution measurement as it is, whose latents are upsampled).
        x_hat: "direct", the paper's D'(z_hat), or "residual", ours:
            x_init + strength (D'(z_hat) - D'(z_in)), in which the VAE's own error cancels; only
            with x_init "estimate".
        strength: of a residual x_hat, in [0, 1]; 0 gives x_init.
        tau: see `Solver`; None is 0.1, and 0.03 of a residual x_hat.
        window, sink: latent frames the KV cache keeps; None is the whole past of a clip of 21
            latent frames.
        context_pass: a second pass over the clean latents that replaces the block's keys and
            values. The paper caches those of z_in, from its single pass (Algorithm 2, lines 8 and
            16).

    Raises:
        UserError: an unknown `x_init` or `x_hat`, or values that do not go together.
    """

    name = "student"

    def __init__(
        self,
        transformer: WanTransformer,
        vae: VideoVAE,
        embed_text: Callable[[Sequence[str]], Tensor],
        timestep: float = 522.0,
        parametrization: str = "flow",
        x_init: str = "lift",
        block_size: int = 3,
        window: int = 21,
        sink: int = 0,
        context_pass: bool = False,
        x_hat: str = "direct",
        strength: float = 1.0,
        tau: float | None = None,
    ) -> None:
        values.one_of("x_init", x_init, X_INIT)
        values.one_of("x_hat", x_hat, X_HAT)
        if x_hat == "residual" and x_init != "estimate":
            raise UserError("a residual x_hat changes x_init; set solver.x_init=estimate")
        values.number("strength", strength, 0, 1)
        if strength != 1 and x_hat != "residual":
            raise UserError(
                f"strength={strength} is for students with a residual x_hat; leave it at 1"
            )
        self.x_hat, self.strength = x_hat, strength
        self.tau = (0.03 if x_hat == "residual" else 0.1) if tau is None else tau
        self.estimates = x_init == "estimate"
        # whether the transformer sees the operator beside the latents, `lvis.solvers.signature`
        self.conditioned = transformer.in_channels == vae.latent_channels + CHANNELS
        if self.conditioned and x_init != "estimate":
            raise UserError("this student sees the operator; set solver.x_init=estimate")
        self.transformer = transformer.eval()
        self.vae = vae.eval()
        self.embed_text = embed_text
        self.timestep = timestep
        self.parametrization = parametrization
        self.x_init = x_init
        self.block_size = block_size
        self.window, self.sink = window, sink
        self.context_pass = context_pass
        self.device = transformer.device
        self.stride = vae.spatial_stride * transformer.patch_size[-1]

    def stream_type(self, operator: LinearOperator) -> type[Stream[Any]]:
        """See `Solver.stream_type`."""
        if self.x_init == "estimate" and (operator.space != "pixel" or operator.official):
            raise UserError(
                "a student with x_init=estimate needs an operator on pixels with its exact adjoint"
            )
        inverts = self.x_init in ("pinv", "estimate") and operator.space == "pixel"
        return StudentClipStream if inverts and not operator.streamable else StudentStream


class _OneStep(Stream[StudentSolver]):
    """Algorithm 2, from what is brought to x's shape on."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        solver, operator = self.solver, self.operator
        self._operator_state: StreamState | None = None
        self._encoder_state: VAEState = None
        self._decoder_state: VAEState = None
        self._bands: Tensor | None = None
        self._position = 0
        self._inverse: Callable[[Tensor], Tensor] | None = None
        if solver.x_init == "pinv" and operator.space == "pixel":
            self._inverse = BlockInverse(operator) if operator.streamable else operator.pinv
        height, width = self.padded_size
        vae_stride = solver.vae.spatial_stride
        # line 1: an empty cache, allocated in full
        self.cache = solver.transformer.open_cache(
            self.batch,
            (height // vae_stride, width // vae_stride),
            solver.embed_text([self.prompt]).to(solver.device),
            block_size=solver.block_size,
            window=solver.window,
            sink=solver.sink,
        )

    def bring_to_x(self, measurement: Tensor) -> Tensor:
        if self.solver.estimates:
            assert self.measured is not None
            self._describe()
            estimate = self.measured.first_estimate()
            if self.solver.x_hat == "residual":
                # the last step holds the change to what x_init explains of y: its noise stays out
                self.measured = self.measured.explained_by(estimate)
            return estimate
        if self._inverse is not None:
            return self._inverse(measurement)
        if self.solver.x_init == "latents":
            return measurement
        return self._lift(measurement)

    def restore_block(self, visible: Tensor) -> Tensor:
        """One full block (B, 3, T_n, H, W) restored; sides may grow."""
        solver, vae = self.solver, self.solver.vae
        if solver.x_hat == "residual" and solver.strength == 0:
            return visible  # x_init, without the networks' time
        # line 4: z_in = E'(y)
        with self.clock("encode"):
            padded = self._padded(visible)
            latents, self._encoder_state = vae.encode_block(padded, self._encoder_state)
            latents = self._mask_latents(latents)
            if solver.x_init == "latents":
                stride = vae.spatial_stride
                height, width = self.padded_size
                latents = upsampled(latents, (height // stride, width // stride))
        # lines 5 to 16: one pass, which reads the cache and adds the keys and values of z_in to it
        with self.clock("transformer"):
            clean = self._predict(latents)
        self._position += visible.shape[2]
        # lines 17 to 19
        with self.clock("decode"):
            if self.solver.x_hat == "direct":
                restored, self._decoder_state = vae.decode_block(clean, self._decoder_state)
                return restored.float()
            both, self._decoder_state = vae.decode_block(
                torch.cat((clean, latents)), self._decoder_state
            )
            changed, unchanged = both.float().chunk(2)
            return padded + self.solver.strength * (changed - unchanged)

    def _padded(self, visible: Tensor) -> Tensor:
        """What the encoder gets."""
        if self.solver.x_init != "latents":
            return pad_to(visible, self.padded_size)
        sides = (visible.shape[3], visible.shape[4])
        height, width = self.padded_size
        check_sides(sides, (height, width), self.solver.vae.spatial_stride)
        return visible

    def _predict(self, latents: Tensor) -> Tensor:
        solver = self.solver
        # with the operator's channels, the noise level takes the place of the timestep
        known = solver.conditioned and self.operator.known
        level = solver.timestep
        if solver.conditioned:
            assert self.measured is not None
            level = noise_timestep(self.measured.noise)
        observed = self._observed() if known else None
        timestep = torch.full((latents.shape[0],), level, device=latents.device)

        def seen(video: Tensor) -> Tensor:
            return condition(video, self._bands, observed) if solver.conditioned else video

        step, commit = solver.transformer.step, not solver.context_pass
        velocity = step(seen(latents), timestep, self.cache, commit=commit)
        clean = student_prediction(latents, velocity, timestep, solver.parametrization)
        if solver.context_pass:
            step(seen(clean), torch.zeros_like(timestep), self.cache, commit=True)
        return clean

    def _lift(self, measurement: Tensor) -> Tensor:
        if self.operator.space == "latent":
            return measurement
        if not self.operator.streamable:
            return self.operator.lift(measurement)
        here, _ = self.operator.block(self._operator_state, measurement.shape[2])
        visible = here.lift(measurement)
        self._operator_state = self.operator.advance(self._operator_state, visible)
        return visible

    def _describe(self) -> None:
        """The operator's signature, once per stream."""
        if self._bands is not None or not self.solver.conditioned or not self.operator.known:
            return
        assert self.agreement is not None
        consistency = replace(self.agreement.consistency, tau=Consistency.tau)
        gamma = consistency.gamma(self.operator)
        shape = (self.batch, 3, self._first_block, *self.size)
        self._bands = responses(self.operator, gamma, shape)[None]

    def _observed(self) -> Tensor | None:
        """The share of each latent cell of this block that a mask shows, (B or 1, 1, t, h, w)."""
        assert self.measured is not None
        known = self.measured.measurement.shape[2]
        missing = shown_mask(self.measured.here, (self.batch, 3, known, *self.size))
        if missing is None:
            return None
        begins = self._position == 0
        count = self._first_block if begins else self._later_block
        missing = missing.to(self.device).expand(-1, -1, known, -1, -1)
        if self.whole_clip:
            missing = missing[:, :, self._position : self._position + count]
        missing = pad_to(repeat_last(missing, count), self.padded_size)
        return 1 - latent_share(missing, begins)

    def _mask_latents(self, latents: Tensor) -> Tensor:
        """Inpainting in latent space: the mask acts on z_in = E'(x)."""
        if self.operator.space != "latent":
            return latents
        here, _ = self.operator.block(self._operator_state, latents.shape[2])
        masked = here(latents)
        self._operator_state = self.operator.advance(self._operator_state, masked)
        return masked


class StudentStream(_OneStep, BlockStream[StudentSolver]):
    """Block by block."""


class StudentClipStream(_OneStep, WholeClipStream[StudentSolver]):
    """For operators that can only be inverted with the whole clip at hand."""

    def restore_clip(self, measurement: Tensor) -> Tensor:
        visible = self.bring_to_x(measurement)
        blocks: list[Tensor] = []
        for block in self.cut(visible):
            full = self._later_block if blocks else self._first_block
            blocks.append(self.restore_block(repeat_last(block, full)))
        video = torch.cat(blocks, dim=2)
        return video[:, :, : visible.shape[2], : self.size[0], : self.size[1]]
