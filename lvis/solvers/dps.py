"""DPS (Chung et al. 2023, Algorithm 1): ancestral sampling with the likelihood gradient through the denoiser."""

from typing import Any

import torch
from torch import Tensor

from lvis.backbone.pixel_prior import TIMESTEPS, PixelPrior
from lvis.cli import values
from lvis.operators import LinearOperator
from lvis.solvers.base import Solver, Stream
from lvis.solvers.patchwise import PatchwisePrior, as_frames, as_video, ddim_path, draw
from lvis.solvers.whole_clip import WholeClipStream


class DPSSolver(Solver):
    """x_{t-1} <- ancestral step - step_size * grad_{x_t} sum_frames |y - A x0_hat(x_t)|_2.

    Temporal operators couple the frames in the gradient; the denoiser sees each by itself.

    Args:
        prior: of frames.
        steps: of the 1000 levels; 1000 in the paper.
        step_size: the paper's 0.3 for blur and super-resolution, 0.5 for inpainting, at 1000 steps.
        overlap: of neighbouring patches, pixels.
        batch_size: patches whose graph is in memory at once; that of others is made again in the backward pass,
            a third more work.

    Raises:
        UserError: a setting out of range.
    """

    name = "dps"

    def __init__(
        self,
        prior: PixelPrior,
        steps: int = 1000,
        step_size: float = 0.3,
        overlap: int = 16,
        batch_size: int = 2,
        device: str | torch.device = "cpu",
    ) -> None:
        values.whole("solver.steps", steps, 1, TIMESTEPS)
        values.positive("solver.step_size", step_size)
        values.whole("solver.batch_size", batch_size, 1)
        self.prior, self.steps, self.step_size, self.overlap = prior, steps, step_size, overlap
        self.batch_size = batch_size
        self.device = torch.device(device)

    def stream_type(self, operator: LinearOperator) -> type[Stream[Any]]:
        """See `Solver.stream_type`."""
        self.require_pixels(operator)
        self.require_adjoint(operator)
        return DPSStream


class DPSStream(WholeClipStream[DPSSolver]):
    def restore_clip(self, measurement: Tensor) -> Tensor:
        solver, prior = self.solver, self.solver.prior
        patchwise = PatchwisePrior(prior, solver.overlap, solver.batch_size)
        count = measurement.shape[2]
        shape = (self.batch, 3, count, *self.size)
        noisy = draw(shape, self.generator, self.device)
        clean = noisy
        for t, following in ddim_path(solver.steps, TIMESTEPS):
            # tensors made in inference mode cannot enter a graph
            with torch.inference_mode(False), torch.enable_grad(), self.clock("transformer"):
                leaf = as_frames(noisy).clone().requires_grad_()
                noise = patchwise.predict_noise(leaf, t)
                graph = patchwise.predict_clean(leaf, noise, t)
                clean = as_video(graph.detach(), self.batch)
                pull = as_frames(self._likelihood_gradient(clean, measurement)).clone()
                (gradient,) = torch.autograd.grad(graph, leaf, pull)
            mean, spread = ancestral(
                clean,
                as_video(noise.detach(), self.batch),
                prior.alpha_bar(t),
                prior.alpha_bar(following),
            )
            noisy = mean - solver.step_size * as_video(gradient, self.batch)
            if following >= 0:
                noisy = noisy + spread * draw(shape, self.generator, self.device)
        self.count_passes({"image_prior": patchwise.passes}, count)
        return noisy

    def _likelihood_gradient(self, clean: Tensor, measurement: Tensor) -> Tensor:
        """Of sum_frames |y - A x|_2 in x, by the adjoint rather than autograd through A."""
        with torch.no_grad():
            residual = self.operator(clean) - measurement
            length = residual.square().sum(dim=(1, 3, 4), keepdim=True).sqrt().clamp_min(1e-8)
            return self.operator.adjoint(residual / length, clean.shape)


def ancestral(
    clean: Tensor, noise: Tensor, share: float, next_share: float
) -> tuple[Tensor, float]:
    """Mean and standard deviation of q(x_s | x_t, x0) (Ho et al. 2020, Eq. 7), by alpha_bar_t and alpha_bar_s."""
    variance = (1 - next_share) / (1 - share) * (1 - share / next_share)
    return (
        next_share**0.5 * clean + max(0.0, 1 - next_share - variance) ** 0.5 * noise,
        variance**0.5,
    )
