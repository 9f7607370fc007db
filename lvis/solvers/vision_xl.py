"""VISION-XL: video restoration with a latent image prior, a frame in the networks at a time (Algorithm 1)."""

from typing import Any

import torch
from torch import Tensor

from lvis.backbone.ddim import invert, timesteps, tweedie
from lvis.backbone.image_prior import TIMESTEPS, ImagePrior
from lvis.cli import values
from lvis.errors import UserError
from lvis.operators import LinearOperator
from lvis.solvers.base import Solver, Stream, pad_to
from lvis.solvers.batch_consistent import renoise
from lvis.solvers.low_pass import SCHEDULES, low_pass, width
from lvis.solvers.patchwise import as_frames, as_video, draw
from lvis.solvers.tiling import starts
from lvis.solvers.whole_clip import WholeClipStream

INITIALISATIONS = ("inversion", "shared_noise", "noise")
INVERSIONS = ("all", "first")
# of the prior's calls -> in passes
NETWORKS = {"unet": "image_prior", "encoder": "image_encoder", "decoder": "image_decoder"}


class VisionXLSolver(Solver):
    """Pseudo-batch inversion and consistent sampling with SDXL, or what has its shape (the paper's values by default).

    Args:
        prior: of frames; its `batch_size` is the memory dial.
        steps: T, levels of the whole DDIM path.
        tau: share of the path that is sampled, in (0, 1].
        cg_steps: l, conjugate gradient steps on A^T A x = A^T y from Tweedie's estimate; 0 is none.
        lpf_lambda: of the low-pass filter's width; 0 or None is no filter.
        filter: the paper's width, or the released code's (see `low_pass.width`).
        eta: share of the re-noising that all frames have in common, in [0, 1]; the code's 0.2.
        initialisation: z_tau from the measurement by DDIM inversion, or pure noise, which all
            frames share or each draws for itself (Table 5; needs tau = 1).
        inversion: of "all" measurement frames as in the paper, or of the "first" for all as in the
            released code.
        group: most frames restored together; None is the whole clip. Longer clips are restored
            group by group, each given the frames before it, which takes a causal operator.
        overlap: least frames that neighbouring groups share, cross-faded.

    Raises:
        UserError: a setting out of range.
    """

    name = "vision_xl"

    def __init__(
        self,
        prior: ImagePrior,
        steps: int = 25,
        tau: float = 0.3,
        cg_steps: int = 10,
        lpf_lambda: float | None = 2.0,
        filter: str = "paper",
        eta: float = 0.2,
        initialisation: str = "inversion",
        inversion: str = "all",
        group: int | None = None,
        overlap: int = 4,
        device: str | torch.device = "cpu",
    ) -> None:
        self.lpf_lambda = lpf_lambda or 0.0
        values.whole("solver.cg_steps", cg_steps, 0)
        values.number("solver.lpf_lambda", self.lpf_lambda, 0)
        values.number("solver.eta", eta, 0, 1)
        values.number("solver.tau", tau, 0, 1)
        values.one_of("solver.filter", filter, SCHEDULES)
        values.one_of("solver.initialisation", initialisation, INITIALISATIONS)
        values.one_of("solver.inversion", inversion, INVERSIONS)
        if initialisation != "inversion" and tau < 1:
            raise UserError(
                f"solver.initialisation={initialisation} starts from pure noise, where "
                f"solver.tau={tau} has little; set solver.tau=1"
            )
        if group is not None and not 0 <= overlap < group:
            raise UserError(
                f"solver.overlap={overlap} is not in [0, {group}), solver.group's; give less"
            )
        self.prior, self.cg_steps, self.filter, self.eta = prior, cg_steps, filter, eta
        self.times = timesteps(steps, TIMESTEPS, tau)
        self.initialisation, self.inversion = initialisation, inversion
        self.group, self.overlap = group, overlap
        self.stride = prior.stride
        self.device = torch.device(device)

    def stream_type(self, operator: LinearOperator) -> type[Stream[Any]]:
        """See `Solver.stream_type`."""
        self.require_pixels(operator)
        self.require_adjoint(operator)
        return VisionXLStream


class VisionXLStream(WholeClipStream[VisionXLSolver]):
    def restore_clip(self, measurement: Tensor) -> Tensor:
        solver, count = self.solver, measurement.shape[2]
        before = dict(solver.prior.calls)
        # drawn once, so that groups have the frames' common noise in common, too
        shared = [self._draw() for _ in solver.times]
        if solver.group is None or count <= solver.group:
            restored = self._sample(self.operator, measurement, shared)
        else:
            restored = self._by_groups(measurement, shared, solver.group)
        calls = solver.prior.calls
        self.count_passes({name: calls[key] - before[key] for key, name in NETWORKS.items()}, count)
        return restored

    def _by_groups(self, measurement: Tensor, shared: list[Tensor], size: int) -> Tensor:
        self.operator.require_streamable()
        count, settled, state = measurement.shape[2], 0, None
        restored = measurement.new_empty(0)
        for start in starts(count, size, self.solver.overlap):
            if start:
                state = self.operator.advance(state, restored[:, :, settled:start])
                settled = start
            here, offset = self.operator.block(state, size)
            seen = measurement[:, :, start : start + size] - offset.to(measurement)
            group = self._sample(here, seen, shared)
            restored = cross_fade(restored, group, start) if start else group
        return restored

    def _sample(
        self, operator: LinearOperator, measurement: Tensor, shared: list[Tensor]
    ) -> Tensor:
        """Algorithm 1 on frames that are restored together."""
        solver, prior, count = self.solver, self.solver.prior, measurement.shape[2]
        noisy = self._initial(operator, measurement, shared[0])
        for step, t in enumerate(solver.times):
            level = prior.alpha_bar(t)
            with self.clock("transformer"):
                noise = prior.noise(noisy, t)  # Eq. 3
            estimate = self._decode(tweedie(noisy, noise, level))  # Eqs. 4 and 5
            if t == solver.times[-1]:
                break
            clean = operator.least_squares(measurement, estimate, solver.cg_steps)  # Eq. 6
            sigma = width(level, solver.lpf_lambda, solver.filter)
            latents = self._encode(low_pass(as_frames(clean), sigma))  # Eqs. 7 and 8
            common = shared[step + 1].repeat_interleave(count, 0)
            reached = prior.alpha_bar(solver.times[step + 1])
            noisy = renoise(latents, noise, common, reached, solver.eta)  # Eq. 9
        return estimate

    def _initial(self, operator: LinearOperator, measurement: Tensor, shared: Tensor) -> Tensor:
        """z_tau of every frame, (B T, 4, h, w): Step 1, Eq. 2."""
        solver, prior, count = self.solver, self.solver.prior, measurement.shape[2]
        if solver.initialisation == "shared_noise":
            return shared.repeat_interleave(count, 0)
        if solver.initialisation == "noise":
            own = [self._draw() for _ in range(count)]
            return torch.stack(own, dim=1).flatten(0, 1)
        seen = operator.lift(measurement)
        chosen = seen[:, :, :1] if solver.inversion == "first" else seen
        levels = [(t, prior.alpha_bar(t)) for t in reversed(solver.times)]
        clean = self._encode(as_frames(chosen))
        with self.clock("transformer"):
            noisy = invert(clean, prior.noise, levels)
        return noisy.repeat_interleave(count, 0) if solver.inversion == "first" else noisy

    def _encode(self, frames: Tensor) -> Tensor:
        padded = pad_to(frames[:, :, None], self.padded_size)[:, :, 0]
        with self.clock("encode"):
            return self.solver.prior.encode(padded)

    def _decode(self, latents: Tensor) -> Tensor:
        """The video (B, 3, T, H, W) of latent frames, the padding cut off."""
        height, width = self.size
        with self.clock("decode"):
            frames = self.solver.prior.decode(latents)
        return as_video(frames[..., :height, :width], self.batch)

    def _draw(self) -> Tensor:
        prior, sides = self.solver.prior, self.padded_size
        shape = (self.batch, prior.channels, *(side // prior.factor for side in sides))
        return draw(shape, self.generator, self.device)


def cross_fade(before: Tensor, after: Tensor, start: int) -> Tensor:
    """(B, C, T, H, W) continued by `after`, whose first frame is number `start`; common frames go over linearly."""
    common = before.shape[2] - start
    share = torch.arange(1, common + 1, device=after.device) / (common + 1)
    share = share.to(after).view(1, 1, -1, 1, 1)
    mixed = torch.lerp(before[:, :, start:], after[:, :, :common], share)
    return torch.cat([before[:, :, :start], mixed, after[:, :, common:]], dim=2)
