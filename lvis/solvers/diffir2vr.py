"""DiffIR2VR-Zero: an image restorer for video, held together by latents and tokens that follow the motion.

Legend: B batch, T H W video, h w latents; x video, y measurement, z latents of frames (B, 4, T, h, w).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from lvis.backbone.ddim import timesteps, tweedie
from lvis.cli import values
from lvis.errors import UserError
from lvis.operators import Downsampling, Identity, LinearOperator
from lvis.solvers.base import Solver, Stream, pad_to
from lvis.solvers.batch_consistent import renoise
from lvis.solvers.frame_prior import FramePrior, FramewisePrior
from lvis.solvers.optical_flow import OpticalFlow, both_ways
from lvis.solvers.patchwise import as_frames, as_video, draw
from lvis.solvers.token_merging import Correspondence, falling, merging
from lvis.solvers.warping import resize_flow, resize_mask, warp
from lvis.solvers.whole_clip import WholeClipStream

TRAINED_STEPS = 1000


class DiffIR2VRSolver(Solver):
    """Super-resolution and denoising, frame by frame, with three ties between frames.

    The restorer is an image prior with a proximal step on the measurement (DiffPIR's, Zhu et al.
    2023, whose weight is the ratio of the prior's noise to the measurement's). The clip is cut into
    groups of `group` frames, the middle one the keyframe. Clean estimates of the first steps are
    warped from keyframe to keyframe (global) and from each keyframe to its group (local);
    self-attention sees a group's frames together, tokens that the motion connects merged.

    Args:
        prior: of frames; its `batch_size` must hold a group.
        flow: between frames of the measurement, brought to x's size.
        steps: of the whole DDIM path.
        tau: share of the path that is sampled, from the noised pseudo-inverse on; in (0, 1].
        group: frames per group, the released code's 10.
        warp_share: of the steps whose estimates are warped, from the first on; the code's 0.1.
        merge_ratio: share of a group's tokens that are merged at the first step, falling to 0 along
            a cosine; the code's 0.6.
        prior_weight: lambda of DiffPIR; more trusts the prior more.
        noise_floor: the least noise of a measurement; half a step of 8 bits by default.
        eta: share of the re-noising that is drawn anew, the same for all frames, in [0, 1].
        flow_blur: sigma in pixels of the blur before the flow, where the measurement has noise.

    Raises:
        UserError: a setting out of range, or a prior that cannot hold a group.

    Attributes:
        description: the name, and which flow was found.
    """

    name = "diffir2vr"

    def __init__(
        self,
        prior: FramePrior,
        flow: OpticalFlow,
        steps: int = 25,
        tau: float = 0.4,
        group: int = 10,
        warp_share: float = 0.1,
        merge_ratio: float = 0.6,
        prior_weight: float = 3.0,
        noise_floor: float = 0.004,
        eta: float = 0.0,
        flow_blur: float = 1.0,
        device: str | torch.device = "cpu",
    ) -> None:
        shares = {"tau": tau, "warp_share": warp_share, "merge_ratio": merge_ratio, "eta": eta}
        for key, share in shares.items():
            values.number(f"solver.{key}", share, 0, 1)
        values.whole("solver.group", group, 1)
        values.positive("solver.prior_weight", prior_weight)
        values.positive("solver.noise_floor", noise_floor)
        values.number("solver.flow_blur", flow_blur, 0)
        if prior.batch_size < group:
            raise UserError(
                f"the image prior takes {prior.batch_size} frames at once and solver.group="
                f"{group} needs a whole group in one batch; give it a batch of {group}"
            )
        self.prior, self.flow, self.group = prior, flow, group
        self.times = timesteps(steps, TRAINED_STEPS, tau)
        self.warped_steps = math.ceil(warp_share * len(self.times))
        self.merged_share = falling(merge_ratio)
        self.prior_weight, self.noise_floor = prior_weight, noise_floor
        self.eta, self.flow_blur = eta, flow_blur
        self.description = f"{self.name} with {flow.name} flow"
        self.device = torch.device(device)
        self.stride = prior.stride

    def stream_type(self, operator: LinearOperator) -> type[Stream[Any]]:
        """See `Solver.stream_type`."""
        self.require_pixels(operator)
        self.require_adjoint(operator)
        if not isinstance(operator, Downsampling | Identity):
            raise UserError(
                f"solver={self.name} does super-resolution and denoising only, not "
                f"{type(operator).__name__}; set task=sr4 "
                "or task=denoise, or choose another solver"
            )
        return DiffIR2VRStream


@dataclass(frozen=True)
class Group:
    """Frames start ... stop - 1 of one clip, with what connects them.

    Attributes:
        inner: from every frame to the keyframe, which is `inner.key` from the group's start.
        outer: from the keyframe to that of the group before, one frame; None for the first group.
    """

    start: int
    stop: int
    inner: Correspondence
    outer: Correspondence | None

    @property
    def keyframe(self) -> int:
        return self.start + self.inner.key


class DiffIR2VRStream(WholeClipStream[DiffIR2VRSolver]):
    def restore_clip(self, measurement: Tensor) -> Tensor:
        solver, count = self.solver, measurement.shape[2]
        prior = FramewisePrior(solver.prior)
        x = self.operator.pinv(measurement).clamp(-1, 1)
        clips = [self._groups(clip) for clip in self._before_flow(x)]
        # both ways: of every frame to its keyframe, and of every keyframe but the first to another
        flows = sum(2 * (count + len(groups) - 1) for groups in clips)
        noisy = self._noised(prior, x)
        for step, t in enumerate(solver.times):
            share = solver.prior.alpha_bar(t)
            with self.clock("transformer"):
                noise = self._predict(prior, noisy, t, clips, step / len(solver.times))
            clean = tweedie(noisy, noise, share)
            if step < solver.warped_steps:
                warped = [follow(clean[i, None], groups) for i, groups in enumerate(clips)]
                clean = torch.cat(warped)
            with self.clock("decode"):
                estimate = prior.decode(clean, self.size)
            x = self.operator.prox(estimate, measurement, self._weight(share)).clamp(-1, 1)
            if step + 1 < len(solver.times):
                reached = solver.prior.alpha_bar(solver.times[step + 1])
                latents = self._encode(prior, x)
                # what the corrected estimate leaves of z_t (DiffPIR, Eq. 14), not what was predicted
                noise = (noisy - share**0.5 * latents) / (1 - share) ** 0.5
                noisy = renoise(latents, noise, self._draw_common(latents), reached, solver.eta)
        self.count_passes({**prior.passes, "flow": flows}, count)
        return x

    def _noised(self, prior: FramewisePrior, x: Tensor) -> Tensor:
        """Latents of x at the first level, all frames with one noise."""
        latents = self._encode(prior, x)
        share = self.solver.prior.alpha_bar(self.solver.times[0])
        return share**0.5 * latents + (1 - share) ** 0.5 * self._draw_common(latents)

    def _encode(self, prior: FramewisePrior, x: Tensor) -> Tensor:
        with self.clock("encode"):
            return prior.encode(x)

    def _draw_common(self, latents: Tensor) -> Tensor:
        """Noise (B, 4, 1, h, w) for all frames of a clip."""
        one = (self.batch, latents.shape[1], 1, *latents.shape[3:])
        return draw(one, self.generator, self.device).to(latents.dtype)

    def _weight(self, share: float) -> float:
        """DiffPIR's 1 / rho_t: (1 - a) / a over lambda noise_std^2."""
        solver = self.solver
        noise_std = max(self.operator.noise_std, solver.noise_floor)
        return (1 - share) / share / (solver.prior_weight * noise_std**2)

    def _before_flow(self, x: Tensor) -> Tensor:
        """(B, T, 3, H, W), what the flow sees: x with its noise smoothed, continued to the prior's sides."""
        frames = as_frames(x)
        if self.operator.noise_std > 0 and self.solver.flow_blur:
            sigma = self.solver.flow_blur
            taps = 2 * math.ceil(3 * sigma) + 1
            if min(frames.shape[-2:]) > taps // 2:
                frames = gaussian_blur(frames, [taps, taps], [sigma, sigma])
        padded = pad_to(as_video(frames, self.batch), self.padded_size)
        return padded.transpose(1, 2)

    def _groups(self, frames: Tensor) -> list[Group]:
        """Of one clip (T, 3, H, W)."""
        flow, groups = self.solver.flow, list[Group]()
        for start in range(0, len(frames), self.solver.group):
            part = frames[start : start + self.solver.group]
            key = len(part) // 2
            center = part[key, None]
            inner = Correspondence(key, *both_ways(flow, part, center.expand_as(part)))
            outer = None
            if groups:
                before = frames[groups[-1].keyframe, None]
                outer = Correspondence(0, *both_ways(flow, center, before))
            groups.append(Group(start, start + len(part), inner, outer))
        return groups

    def _predict(
        self, prior: FramewisePrior, noisy: Tensor, t: int, clips: list[list[Group]], done: float
    ) -> Tensor:
        """The noise of latents (B, 4, T, h, w), a group at a time; `done` is the share of the path."""
        solver, noise = self.solver, torch.empty_like(noisy)
        ratio = solver.merged_share(done)
        height, width = self.padded_size
        for clip, groups in enumerate(clips):
            for group in groups:
                part = noisy[clip, None, :, group.start : group.stop]
                with merging(solver.prior.unet, group.inner, ratio, (height, width)):
                    noise[clip, :, group.start : group.stop] = prior.noise(part, t)[0]
        return noise


def follow(clean: Tensor, groups: list[Group]) -> Tensor:
    """Hierarchical warping of one clip's clean latents (1, C, T, h, w).

    First every keyframe takes from the keyframe before it, then every frame from its group's
    keyframe, where the motion shows the same thing; what is hidden there stays.
    """
    clean = clean.clone()
    for number, group in enumerate(groups):
        if group.outer is not None:
            before = clean[0, :, groups[number - 1].keyframe, None].transpose(0, 1)
            here = clean[0, :, group.keyframe, None].transpose(0, 1)
            clean[0, :, group.keyframe] = pulled(here, before, group.outer)[0]
    for group in groups:
        frames = clean[0, :, group.start : group.stop].transpose(0, 1)
        key = clean[0, :, group.keyframe, None].transpose(0, 1).expand_as(frames)
        moved = pulled(frames, key, group.inner)
        moved[group.inner.key] = key[0]
        clean[0, :, group.start : group.stop] = moved.transpose(0, 1)
    return clean


def pulled(latents: Tensor, reference: Tensor, motion: Correspondence) -> Tensor:
    """Latents (N, C, h, w), replaced by the reference's along the motion to it where that is seen."""
    size = (latents.shape[-2], latents.shape[-1])
    moved = warp(reference, resize_flow(motion.flow, size))
    return torch.where(resize_mask(motion.seen, size), moved, latents)
