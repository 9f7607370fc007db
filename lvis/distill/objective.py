"""The losses of InstantViR as pure functions (Algorithm 1 and section 1 of the supplement).

Legend: B batch, C channels, T H W video frames and sides, t h w latent frames and sides.
Noise levels follow `lvis.backbone.flow`: x_sigma = (1 - sigma) x0 + sigma noise, timestep = 1000
sigma, velocity v = noise - x0.
"""

from torch import Tensor

from lvis.operators import LinearOperator

CRITIC_LOSSES = ("flow", "epsilon")
RAMPS = ("gate", "linear")
LIKELIHOOD_MEANS = ("arithmetic", "geometric")
LIKELIHOOD_NORMS = ("measurement", "pseudo_inverse")


def likelihood(
    measurement: Tensor, operator: LinearOperator, estimate: Tensor, norm: str = "measurement"
) -> Tensor:
    """L_data = |y - A(x_hat)|^2 (Algorithm 1, line 9) of each clip, (B,), as a mean over its elements.

    Args:
        measurement: y, of the operator's measurement shape.
        operator: A, with its draw fixed.
        estimate: x_hat = D'(z_hat), (B, 3, T, H, W) in [-1, 1]; for an operator on latents, z_hat
            itself.
        norm: "measurement", the paper's; "pseudo_inverse" is |A^+ (y - A x_hat)|^2, the same residual
            in a norm in which every direction that A keeps counts alike (the guidance of PiGDM, Song et
            al. 2023). A blur makes the paper's nearly blind to detail, so that its gradient takes very
            many steps to sharpen; the pseudo-inverse's `rcond` bounds what is amplified.
    """
    residual = operator(estimate).float() - measurement.float()
    if norm == "pseudo_inverse" and operator.space == "pixel":
        residual = operator.pinv(residual)
    return residual.square().flatten(1).mean(dim=1)


def over_clips(terms: Tensor, mean: str) -> Tensor:
    """One loss of the clips' likelihoods (B,).

    Args:
        mean: "arithmetic", the paper's; "geometric" is the mean of the logarithms, whose gradient counts
            what a clip gains relative to its own residual, so that detailed clips do not decide alone what
            happens to smooth ones. Residuals below 1e-6 (66 dB) count as that.
    """
    return terms.mean() if mean == "arithmetic" else terms.clamp_min(1e-6).log().mean()


def prior_gradient(target: Tensor, x0_teacher: Tensor, x0_critic: Tensor) -> Tensor:
    """The gradient of L_prior in z_target (Algorithm 1, lines 18-20; DMD, equations 7 and 8).

    The difference of the two scores, written with the clean latents that they predict, and divided
    a clip by the mean of |z_target - x0_teacher|, so that no noise level dominates. All are
    (B, C, t, h, w).
    """
    scale = (target - x0_teacher).abs().mean(dim=(1, 2, 3, 4), keepdim=True)
    # a teacher that returns its input exactly has nothing to say; do not divide by that
    return (x0_critic - x0_teacher) / scale.clamp_min(1e-6)


def prior_loss(target: Tensor, gradient: Tensor, weight: Tensor | None = None) -> Tensor:
    """1/2 |z - sg(z - gradient)|^2, whose gradient is `gradient` over the number of elements.

    Args:
        target: z_target, (B, C, t, h, w), with its graph.
        gradient: from `prior_gradient`, no graph.
        weight: (B or 1, 1, t, h, w) in [0, 1], the share of each latent cell that the prior
            answers for; the mean is then a weighted mean. None means every cell.
    """
    aim = (target - gradient).detach().float()
    error = 0.5 * (target.float() - aim).square()
    if weight is None:
        return error.mean()
    weight = weight.to(error).expand_as(error)
    return (weight * error).sum() / weight.sum().clamp_min(1.0)


def denoising_loss(
    velocity: Tensor, target: Tensor, noise: Tensor, timestep: Tensor, kind: str
) -> Tensor:
    """The critic's denoising score matching loss on noised z_target (Algorithm 1, line 23).

    "epsilon" is the supplement's |s(z_t, t, c) - epsilon|^2; since
    epsilon_hat - epsilon = (1 - sigma) (v_hat - v), it is the velocity's error weighted by
    (1 - sigma)^2. "flow" leaves that weight out.

    Args:
        velocity: the critic's v, (B, C, t, h, w).
        target, noise: z_target without graph, and the noise it was mixed with.
        timestep: (B,) in [0, 1000].
    """
    error = (velocity.float() - (noise - target).float()).square()
    if kind == "epsilon":
        error = (1 - timestep / 1000).square().view(-1, 1, 1, 1, 1) * error
    return error.mean()


def prior_ramp(step: int, warmup_steps: int, ramp: str) -> float:
    """The prior term's warm-up factor, in [0, 1], after `step` steps.

    "linear" grows from 0 to 1 over `warmup_steps`; "gate" is 0 until then, the released code's.
    """
    if step >= warmup_steps:
        return 1.0
    return 0.0 if ramp == "gate" else step / warmup_steps
