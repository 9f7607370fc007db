"""First estimates of ill-conditioned measurements: half-quadratic splitting with cosine shrinkage.

x_k = prox_{g_k}(D(x_{k-1}, tau_k), y) with g_k = GAIN tau_k^2 / noise^2 and tau_k falling: plug-and-play
restoration (Zhang et al., "Plug-and-Play Image Restoration with Deep Denoiser Prior", 2021, eq. 6), in
which D is `without_noise` and not a network. No network, one block at a time.
"""

from torch import Tensor

from lvis.operators import Composition, Identity, Inpainting, LinearOperator, Separable
from lvis.operators.axes import Downsample
from lvis.solvers.shrinkage import without_noise

# the noise that each step takes the estimate to have; fewer steps lose 0.1 dB, more win 0.02
TAUS = (0.4, 0.25, 0.16, 0.1)
# of the measurement; half of it where errors of earlier frames come back, which are not white
GAIN, GAIN_WITH_PAST = 4.0, 2.0
# the last shrinkage takes noise that the last step let in, at most this much
POLISH, MOST_POLISH = 2.0, 0.07


def is_downsampling(operator: LinearOperator) -> bool:
    """Downsampling of single frames, and nothing else."""
    if not isinstance(operator, Separable):
        return False
    time, _, columns = operator.axes
    return time is None and isinstance(columns, Downsample)


def is_mean_over_frames(operator: LinearOperator) -> bool:
    """A mean over frames that leaves each frame's pixels apart."""
    if not isinstance(operator, Separable):
        return False
    _, *sides = operator.axes
    return not any(sides)


def ill_conditioned(operator: LinearOperator) -> bool:
    """Whether a regularised inverse leaves much to gain: not for masks, noise or downsampling alone."""
    if isinstance(operator, Identity | Inpainting) or is_downsampling(operator):
        return False
    if isinstance(operator, Composition):
        return ill_conditioned(operator.outer) or ill_conditioned(operator.inner)
    return True


def half_quadratic(
    operator: LinearOperator, measurement: Tensor, start: Tensor, noise: float, has_past: bool
) -> Tensor:
    """x_init (B, 3, T, H, W), not clamped.

    Args:
        operator: of these frames.
        measurement: without the offset of earlier frames.
        start: (B, 3, T, H, W), where the steps begin.
        noise: standard deviation of the measurement's errors, those of earlier frames included.
        has_past: whether there are such.
    """
    gain = GAIN_WITH_PAST if has_past else GAIN
    video = start
    proximal = operator.proximal(measurement.to(video))
    for at, tau in enumerate(TAUS):
        # the first step is rough anyway
        video = without_noise(video.clamp(-1.2, 1.2), tau, step=4 if at else 8)
        video = proximal(video, gain * (tau / noise) ** 2)
    return without_noise(video, min(MOST_POLISH, POLISH * noise))
