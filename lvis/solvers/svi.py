"""SVI: video restoration with an image prior in pixel space, by batch-consistent DDIM sampling and CG on A."""

from typing import Any

import torch
from torch import Tensor

from lvis.backbone.pixel_prior import TIMESTEPS, PixelPrior
from lvis.cli import values
from lvis.operators import LinearOperator
from lvis.solvers.base import Solver, Stream
from lvis.solvers.batch_consistent import renoise
from lvis.solvers.patchwise import PatchwisePrior, as_frames, as_video, ddim_path, draw
from lvis.solvers.whole_clip import WholeClipStream


class SVISolver(Solver):
    """Batch-consistent sampling (released code's values by default).

    Args:
        prior: of frames.
        steps: DDIM steps.
        eta: share of the noise that all frames have in common, in [0, 1].
        cg_steps: conjugate gradient steps on A^T A x = A^T y from Tweedie's estimate.
        batch_size: frames in the network at once.
        overlap: of neighbouring patches, pixels.

    Raises:
        UserError: a setting out of range.
    """

    name = "svi"

    def __init__(
        self,
        prior: PixelPrior,
        steps: int = 20,
        eta: float = 0.15,
        cg_steps: int = 5,
        batch_size: int = 16,
        overlap: int = 16,
        device: str | torch.device = "cpu",
    ) -> None:
        for key, value in {"steps": steps, "cg_steps": cg_steps, "batch_size": batch_size}.items():
            values.whole(f"solver.{key}", value, 1)
        values.number("solver.eta", eta, 0, 1)
        self.prior, self.steps, self.eta, self.cg_steps = prior, steps, eta, cg_steps
        self.batch_size, self.overlap = batch_size, overlap
        self.device = torch.device(device)

    def stream_type(self, operator: LinearOperator) -> type[Stream[Any]]:
        """See `Solver.stream_type`."""
        self.require_pixels(operator)
        self.require_adjoint(operator)
        return SVIStream


class SVIStream(WholeClipStream[SVISolver]):
    def restore_clip(self, measurement: Tensor) -> Tensor:
        solver = self.solver
        patchwise = PatchwisePrior(solver.prior, solver.overlap)
        count = measurement.shape[2]
        one = (self.batch, 3, 1, *self.size)
        noisy = draw(one, self.generator, self.device).repeat(1, 1, count, 1, 1)
        clean = noisy
        for t, following in ddim_path(solver.steps, TIMESTEPS):
            with self.clock("transformer"):
                frames = as_frames(noisy)
                parts = [patchwise.predict_noise(f, t) for f in frames.split(solver.batch_size)]
                noise = torch.cat(parts)
                estimate = as_video(patchwise.predict_clean(frames, noise, t), self.batch)
            clean = self.operator.least_squares(measurement, estimate, solver.cg_steps)
            if following >= 0:
                shared = draw(one, self.generator, self.device)
                level = solver.prior.alpha_bar(following)
                noisy = renoise(clean, as_video(noise, self.batch), shared, level, solver.eta)
        self.count_passes({"image_prior": patchwise.passes}, count)
        return clean
