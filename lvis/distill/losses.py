"""From a measurement to the losses (Algorithm 1 of InstantViR's supplement, lines 4-20 and 23).

Legend: B batch, T H W video frames and sides, t h w latent frames and sides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lvis.backbone import BlockCausal, WanTransformer, flow, guided_velocity
from lvis.distill import objective
from lvis.distill.initialisation import block_points, initial_loss, trajectory
from lvis.distill.prepared import Prepared, description, first_estimates
from lvis.distill.randomness import Draws
from lvis.distill.rollout import roll_out
from lvis.distill.self_supervision import equivariance, other_operator, splitting
from lvis.distill.settings import Settings
from lvis.errors import UserError
from lvis.kernels.transfer import sent
from lvis.operators import LinearOperator
from lvis.operators.draws import Draw, drawn, normal
from lvis.solvers.consistency import Consistency, consistency_of
from lvis.solvers.low_resolution import check_sides, upsampled
from lvis.solvers.one_step import student_prediction
from lvis.solvers.signature import CHANNELS, condition, latent_share
from lvis.vae import Bridge, VideoVAE

# prompts of one step and the null prompt, 8.4 MB each at full size
TEXTS_HELD = 4


@dataclass(frozen=True)
class Measurement:
    """All that a loss may know of a batch: y, the operator that made it, and the prompts."""

    y: Tensor
    operator: LinearOperator
    prompts: tuple[str, ...]
    signal_shape: tuple[int, ...]  # of what was measured: the video's shape, or its latents'
    z_in: Tensor | None = None  # where it is known, from `distill.latent_cache`
    clean: Tensor | None = None  # only with `supervision`, which no preset of the paper has


class Losses(nn.Module):
    """The nets and the loss terms that they make of a `Measurement`.

    Args:
        student: block-causal in training, starts from the teacher's weights.
        teacher: frozen; sees latents of `teacher_vae`.
        critic: the auxiliary score network, starts from the teacher's weights.
        student_vae: E' and D' of the paper, frozen.
        teacher_vae: E and D, frozen; the same object as `student_vae` when there is one VAE.
        operator: A; random operators are drawn anew every step.
        encode_text: prompts -> (B, L, D), without gradient.
        settings: the numbers.
    """

    def __init__(
        self,
        *,
        student: WanTransformer,
        teacher: WanTransformer,
        critic: WanTransformer,
        student_vae: VideoVAE,
        teacher_vae: VideoVAE,
        operator: LinearOperator,
        encode_text: Callable[[Sequence[str]], Tensor],
        settings: Settings,
    ) -> None:
        super().__init__()
        # no net has a mode that training needs (no dropout), so that all stay in eval
        self.student, self.critic = student.eval(), critic.eval()
        self.teacher = frozen(teacher)
        self.student_vae, self.teacher_vae = frozen(student_vae), frozen(teacher_vae)
        self.bridge = Bridge(
            self.student_vae,
            self.teacher_vae,
            checkpointing=settings.checkpoint_activations,
            block_size=settings.bridge_block,
            group=settings.bridge_group,
        )
        self.operator = operator
        self.encode_text = (
            frozen(encode_text) if isinstance(encode_text, nn.Module) else encode_text
        )
        self.known: dict[str, Tensor] = {}
        self._texts: dict[tuple[tuple[str, ...], torch.device], Tensor] = {}
        self.settings = settings
        self.consistency = consistency_of(settings.consistency, settings.tau)
        # whether the student has channels for the operator, `lvis.solvers.signature`
        self.conditioned = student.in_channels == student_vae.latent_channels + CHANNELS
        for net in (student, critic):
            net.gradient_checkpointing = settings.checkpoint_activations
        student.causal_attention = settings.attention

    def train(self, mode: bool = True) -> "Losses":
        """Stay in eval mode, whatever the trainer asks for."""
        return self

    @property
    def bridged(self) -> bool:
        """Whether student latents reach the teacher through D' and E (line 12).

        A residual output always does: what is given out is no latent of the student.
        """
        if self.settings.x_hat == "residual":
            return True
        return self.settings.bridge and not self.bridge.is_identity

    @torch.no_grad()
    def measure(
        self,
        clean: Tensor | None,
        prompts: Sequence[str],
        generator: Draw,
        latents: Tensor | None = None,
    ) -> Measurement:
        """y = A(x) + n (line 4), with A's draw fixed: the only place that touches the clean clip.

        Args:
            clean: (B, 3, T, H, W) in [-1, 1]; None where an operator on latents is given `latents`.
            generator: of A's draw and of the noise, one for the batch or one per clip.
            prompts: one per clip; without `use_text` every net gets the null prompt instead.
            latents: E'(x), where it is known, for an operator on latents.
        """
        if not self.settings.use_text:
            prompts = [""] * len(prompts)
        signal = clean if latents is None else latents
        assert signal is not None
        if self.operator.space == "latent" and latents is None:
            signal = self.encode(signal)
        operator = self.operator.realise(tuple(signal.shape), generator).to(signal.device)
        # a copy, whatever the operator does: y must not share memory with the clean clip
        y = operator.measure(signal, generator).clone()
        shown = clean if self.settings.supervision else None
        return Measurement(y, operator, tuple(prompts), tuple(signal.shape), clean=shown)

    @torch.no_grad()
    def student_input(self, measurement: Measurement) -> Tensor:
        """z_in = E'(y) (line 4), with y brought to the video's shape first; (B, 16, t, h, w)."""
        return self.prepared(measurement).z_in

    def prepared(self, measurement: Measurement) -> Prepared:
        """`prepare`, unless z_in is known."""
        if measurement.z_in is not None:
            return Prepared(measurement.z_in, noise_std=measurement.operator.noise_std)
        return self.prepare(measurement.y, measurement.operator)

    @torch.no_grad()
    def prepare(self, y: Tensor, operator: LinearOperator) -> Prepared:
        """Everything that the student is given of a measurement."""
        settings = self.settings
        if settings.x_init == "latents":
            return Prepared(self._own_latents(y, operator), noise_std=operator.noise_std)
        if settings.x_init != "estimate":
            shaped = operator.pinv(y) if settings.x_init == "pinv" else operator.lift(y)
            latent = operator.space == "latent"
            return Prepared(shaped if latent else self.encode(shaped), noise_std=operator.noise_std)
        consistency = self.consistency or Consistency(settings.tau)
        x_init, blocks = first_estimates(
            y, operator, consistency, settings.block_size, settings.x_hat == "residual"
        )
        bands, observed = (
            description(operator, tuple(x_init.shape)) if self.conditioned else (None, None)
        )
        z_in = self.encode(x_init)
        return Prepared(z_in, x_init, blocks, operator.noise_std, bands, observed)

    def _own_latents(self, y: Tensor, operator: LinearOperator) -> Tensor:
        """Of a low-resolution measurement, upsampled to those of x."""
        _, _, _, height, width = operator.video_shape(y.shape)
        stride = self.student_vae.spatial_stride
        check_sides((y.shape[3], y.shape[4]), (height, width), stride)
        return upsampled(self.encode(y), (height // stride, width // stride))

    def predict(
        self, z_in: Tensor, prompts: Sequence[str], prepared: Prepared | None = None
    ) -> Tensor:
        """z_hat = q(z_in) (line 6), block-causal; student latents (B, 16, t, h, w).

        Args:
            prepared: of the same measurement, for a student that sees the operator.
        """
        settings = self.settings
        conditioned = self.conditioned and prepared is not None
        prepared = prepared or Prepared(z_in)
        level = prepared.timestep(conditioned, settings.timestep)
        timestep = torch.full((z_in.shape[0],), level, device=z_in.device)
        text = self._text(prompts, z_in.device)
        if not settings.rollout_blocks:
            seen = prepared.seen(conditioned)
            v = self._velocity(self.student, seen, timestep, text, block_size=settings.block_size)
            return student_prediction(z_in, v, level, settings.parametrization)
        window, sink = settings.rollout_window, settings.rollout_sink
        with self._autocast(z_in.device):
            return roll_out(
                self.student,
                z_in,
                timestep,
                text,
                BlockCausal(settings.block_size, window, sink),
                settings.rollout_blocks,
                lambda latents, part: prepared.shown(latents, part, conditioned),
                lambda part, v: student_prediction(part, v, level, settings.parametrization),
            )

    def given_out(self, prepared: Prepared, z_hat: Tensor) -> Tensor:
        """x_hat (B, 3, T, H, W) as a stream would give it out, not clamped."""
        video = self.bridge.to_video(z_hat)
        if self.settings.x_hat == "residual":
            assert prepared.x_init is not None
            video = prepared.x_init + video - self.bridge.to_video(prepared.z_in)
        return prepared.agreeing(video, self.consistency)

    def restore(self, y: Tensor, operator: LinearOperator, prompts: Sequence[str]) -> Tensor:
        """x_hat of a measurement, with its graph."""
        prepared = self.prepare(y, operator)
        return self.given_out(prepared, self.predict(prepared.z_in, prompts, prepared))

    def student_terms(
        self,
        measurement: Measurement,
        draws: Draws,
        prior_weight: float,
        wants_target: bool = True,
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """The student's loss (lines 5-20 and 22).

        Args:
            draws: the generators of these clips.
            prior_weight: lambda times the warm-up's factor; at 0 the prior is not evaluated.
            wants_target: whether the critic learns from this step.

        Returns:
            likelihood, prior (both unweighted) and total; z_target without its graph, for the
            critic (None if nobody needs it).
        """
        latent = measurement.operator.space == "latent"
        prepared = self.prepared(measurement)
        z_hat = self.predict(prepared.z_in, measurement.prompts, prepared)
        x_hat = None if latent and not self.bridged else self.given_out(prepared, z_hat)
        estimate = z_hat if latent else x_hat
        assert estimate is not None
        residuals = objective.likelihood(
            measurement.y, measurement.operator, estimate, self.settings.likelihood_norm
        )
        terms = {"likelihood": residuals.mean()}
        terms["total"] = self.settings.likelihood_weight * objective.over_clips(
            residuals, self.settings.likelihood_mean
        )
        self._add_options(terms, measurement, estimate, draws)
        if prior_weight == 0:
            if not wants_target:
                return terms, None
            with torch.no_grad():
                return terms, self._target(z_hat.detach(), x_hat)
        target = self._target(z_hat, x_hat)
        terms["prior"] = self.prior_term(target, measurement, draws)
        terms["total"] = terms["total"] + prior_weight * terms["prior"]
        return terms, target.detach()

    def _add_options(
        self, terms: dict[str, Tensor], measurement: Measurement, x_hat: Tensor, draws: Draws
    ) -> None:
        """Supervision and self-supervision, both absent from the paper's presets."""
        settings = self.settings
        if measurement.clean is not None:
            errors = (x_hat - measurement.clean).square().flatten(1).mean(dim=1)
            terms["supervision"] = errors.mean()
            weighed = objective.over_clips(errors, settings.likelihood_mean)
            terms["total"] = terms["total"] + settings.supervision * weighed
        if settings.self_supervision == "none":
            return
        generator = draws["self_supervision"][0]

        def restore(y: Tensor, operator: LinearOperator) -> Tensor:
            return self.restore(y, operator, measurement.prompts)

        operator, term = measurement.operator, None
        if settings.self_supervision == "splitting":
            term = splitting(measurement.y, operator, restore, generator)
        elif settings.self_supervision == "operators":
            term = other_operator(x_hat, self.operator, restore, generator)
        else:
            term = equivariance(x_hat, operator, restore, generator)
        if term is not None:
            terms["self_supervision"] = term
            terms["total"] = terms["total"] + settings.self_supervision_weight * term

    def initial_term(self, measurement: Measurement, draws: Draws) -> Tensor:
        """The initialisation's loss (`lvis.distill.initialisation`); of the clips, only the size and the prompts."""
        settings, prompts = self.settings, measurement.prompts
        shape, device = self._latent_shape(measurement), measurement.y.device
        steps = torch.linspace(1, 0, settings.initial_levels + 1)
        sigmas = flow.shift_sigma(steps, settings.shift)
        noise = normal(shape, draws["initial_noise"]).to(device)
        path = trajectory(noise, lambda x, t: self._guided(x, t, prompts), sigmas)
        size = settings.block_size
        index = block_points(
            shape[0], shape[2], size, settings.initial_levels, draws["initial_point"]
        )
        text = self._text(prompts, device)

        def velocity(x: Tensor, timestep: Tensor) -> Tensor:
            seen = condition(x, None) if self.conditioned else x
            return self._velocity(self.student, seen, timestep, text, block_size=size)

        return initial_loss(settings.initialisation, path, sigmas, index.to(device), velocity)

    def _latent_shape(self, measurement: Measurement) -> tuple[int, ...]:
        """Of z_hat."""
        if measurement.operator.space == "latent":
            return measurement.signal_shape
        batch, _, frames, height, width = measurement.signal_shape
        vae = self.student_vae
        sides = (height // vae.spatial_stride, width // vae.spatial_stride)
        return (batch, vae.latent_channels, vae.latent_frames(frames), *sides)

    def prior_term(self, target: Tensor, measurement: Measurement, draws: Draws) -> Tensor:
        """L_prior of z_target (lines 11-20), unweighted."""
        prompts = measurement.prompts
        with torch.no_grad():
            noised, timestep, _ = self._diffuse(target, draws, "prior")
            sigma = timestep / 1000
            v_teacher = self._guided(noised, timestep, prompts)
            v_critic = self._velocity(
                self.critic, noised, timestep, self._text(prompts, noised.device)
            )
            gradient = objective.prior_gradient(
                target.float(),
                flow.velocity_to_x0(noised, v_teacher, sigma),
                flow.velocity_to_x0(noised, v_critic, sigma),
            )
        return objective.prior_loss(target, gradient, self._prior_region(measurement))

    def critic_term(self, target: Tensor, prompts: Sequence[str], draws: Draws) -> Tensor:
        """The critic's denoising loss on the student's own output (line 23); no graph in target."""
        noised, timestep, noise = self._diffuse(target, draws, "critic")
        velocity = self._velocity(self.critic, noised, timestep, self._text(prompts, noised.device))
        kind = self.settings.critic_loss
        return objective.denoising_loss(velocity, target, noise, timestep, kind)

    @torch.no_grad()
    def critic_target(self, measurement: Measurement) -> Tensor:
        """z_target for a step that does not update the student."""
        prepared = self.prepared(measurement)
        z_hat = self.predict(prepared.z_in, measurement.prompts, prepared)
        return self._target(z_hat, self.given_out(prepared, z_hat) if self.bridged else None)

    @torch.no_grad()
    def reconstruct(self, latents: Tensor) -> Tensor:
        """D'(z) for eyes and metrics, (B, 3, T, H, W) in [-1, 1]."""
        return self.bridge.to_video(latents).clamp(-1, 1)

    def encode(self, video: Tensor) -> Tensor:
        """E'(x), (B, 16, t, h, w)."""
        return self.bridge.encode(self.student_vae, video)

    def _target(self, z_hat: Tensor, x_hat: Tensor | None) -> Tensor:
        """z_target: E(x_hat) when the VAEs differ, else z_hat (lines 12-16)."""
        if not self.bridged:
            return z_hat
        assert x_hat is not None
        return self.bridge.to_teacher(x_hat)

    def _diffuse(self, target: Tensor, draws: Draws, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """(z_t, timestep (B,), noise) of z_target (lines 11 and 17), float32."""
        timestep = drawn(draws[f"{name}_timestep"], target.shape[0], self._timesteps)
        timestep = sent(timestep, target.device)
        noise = sent(normal(target.shape, draws[f"{name}_noise"]), target.device)
        return flow.add_noise(target.detach().float(), noise, timestep / 1000), timestep, noise

    def _timesteps(self, count: int, generator: torch.Generator | None) -> Tensor:
        settings = self.settings
        limits = (settings.lowest_timestep, settings.highest_timestep)
        return flow.sample_timesteps(count, settings.shift, *limits, generator)

    def _guided(self, noised: Tensor, timestep: Tensor, prompts: Sequence[str]) -> Tensor:
        """The teacher's guided velocity (line 18)."""
        settings, device = self.settings, noised.device
        text = self._text(prompts, device)
        if all(prompt == settings.negative_prompt for prompt in prompts):
            # guidance away from the prompt itself is no guidance
            return self._velocity(self.teacher, noised, timestep, text)
        negative = self._text([settings.negative_prompt] * len(prompts), device)
        with self._autocast(noised.device):
            return guided_velocity(
                self.teacher,
                noised,
                timestep,
                text,
                negative,
                settings.guidance_scale,
                settings.guidance_convention,
            ).float()

    def _prior_region(self, measurement: Measurement) -> Tensor | None:
        """The prior's weight a latent cell: where the measurement has holes, if A is a mask."""
        if not self.settings.prior_on_masked_only:
            return None
        missing = measurement.operator.missing(measurement.signal_shape)
        if missing is None or measurement.operator.space == "latent":
            return missing
        return latent_share(missing, side=self.teacher_vae.spatial_stride)

    def _velocity(
        self,
        net: WanTransformer,
        latents: Tensor,
        timestep: Tensor,
        text: Tensor,
        *,
        block_size: int | None = None,
    ) -> Tensor:
        with self._autocast(latents.device):
            return net(latents, timestep, text, block_size=block_size).float()

    def _autocast(self, device: torch.device) -> torch.autocast:
        enabled = self.settings.autocast == "bf16"
        return torch.autocast(device.type, torch.bfloat16, enabled=enabled)

    def know(self, prompts: Sequence[str], embeddings: Sequence[Tensor | None]) -> None:
        """Embeddings (L, D), or None, that came with the clips: a step's text is looked up there before it is encoded.

        Raises:
            UserError: one is longer than the text that the student takes, or of another width.
        """
        width = self.student.net.config.text_dim
        self.known = {}
        self._texts.clear()
        for prompt, embedding in zip(prompts, embeddings, strict=True):
            if embedding is None:
                continue
            length = self.student.text_len or embedding.shape[0]
            if embedding.ndim != 2 or embedding.shape[0] > length or embedding.shape[1] != width:
                raise UserError(
                    f"the shards' prompt embeddings are {tuple(embedding.shape)}, and this model takes up to "
                    f"({length}, {width}): prepare them with its own text encoder"
                )
            self.known[prompt] = F.pad(embedding.float(), (0, 0, 0, length - embedding.shape[0]))

    def _text(self, prompts: Sequence[str], device: torch.device) -> Tensor:
        """(B, L, D) on `device`, where the embeddings of the last few calls stay: a step asks four times."""
        key = (tuple(prompts), device)
        if key in self._texts:
            return self._texts[key]
        text = sent(self._embedded(prompts), device)
        if not text.is_inference():  # those of a validation cannot serve in training
            while len(self._texts) >= TEXTS_HELD:
                self._texts.pop(next(iter(self._texts)))
            self._texts[key] = text
        return text

    @torch.no_grad()
    def _embedded(self, prompts: Sequence[str]) -> Tensor:
        rest = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self.known]
        if len(rest) == len(set(prompts)):
            return self.encode_text(list(prompts))
        encoded = dict(zip(rest, self.encode_text(rest), strict=True)) if rest else {}
        rows = [self.known[p] if p in self.known else encoded[p] for p in prompts]
        return torch.stack([row.to(rows[0].device) for row in rows])


def frozen(net: Any) -> Any:
    """The net without gradients, in eval mode."""
    return net.requires_grad_(False).eval()
