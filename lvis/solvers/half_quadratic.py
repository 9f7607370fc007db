"""First estimates of ill-conditioned measurements: half-quadratic splitting with cosine shrinkage.

x_k = prox_{g_k}(D(x_{k-1}, tau_k), y) with g_k = gain tau_k^2 / noise^2 and tau_k falling: plug-and-play
restoration (Zhang et al., "Plug-and-Play Image Restoration with Deep Denoiser Prior", 2021, eq. 6), in
which D is `without_noise` and not a network. All but the last steps put each pixel into one block, at
places that change from step to step (cycle spinning: Coifman and Donoho, 1995). No network, one block
of frames at a time.
"""

from torch import Tensor

from lvis.operators import Composition, Identity, Inpainting, LinearOperator, Separable
from lvis.operators.axes import Downsample
from lvis.solvers.consistency import EIGHT_BITS
from lvis.solvers.shrinkage import SIDE, STEP, WINDOWS, without_noise

STEPS = 8
# of these, the last ones average over overlapping blocks
CAREFUL = 2
# the noise that the first step takes the estimate to have, and the last: LAST times the measurement's,
# within bounds; a mean over frames can be undone more closely than a blur
FIRST, LAST, MOST = 0.5, 3.0, 0.1
LEAST, LEAST_OF_MEANS = 0.05, 0.012
# of the measurement, at this noise: errors of an estimate lie where the operator is weak, so that the
# measurement deserves more than its noise says; less where little is lost, and where errors of earlier
# frames come back
GAIN, GAIN_AT, GAIN_WITH_PAST = 4.0, 0.02, 2.0
# the last shrinkage takes noise that the last step let in
POLISH, LEAST_POLISH, MOST_POLISH = 2.0, 0.02, 0.04
# errors of earlier frames, as far as the operator sees them: of the measurement's noise, and at most
PAST_TAU, MOST_PAST_TAU = 1.5, 0.03
# where blocks begin, so that borders of one step lie inside blocks of the next
SPIN = ((0, 0), (4, 4), (0, 4), (4, 0), (2, 6), (6, 2), (2, 2), (6, 6))
# of video whose detail is lost, long blocks tell no more than short ones
SHORT = WINDOWS[:1]


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


def past_error(noise: float) -> float:
    """Standard deviation of errors of earlier frames at this noise of the measurement."""
    return min(MOST_PAST_TAU, PAST_TAU * max(noise, EIGHT_BITS))


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
    gain = GAIN_WITH_PAST if has_past else min(GAIN, max(1.0, GAIN * (noise / GAIN_AT) ** 0.5))
    means = is_mean_over_frames(operator)
    windows = WINDOWS if means else SHORT
    last = min(MOST, max(LEAST_OF_MEANS if means else LEAST, LAST * noise))
    video = start
    proximal = operator.proximal(measurement.to(video))
    for at in range(STEPS):
        tau = FIRST * (last / FIRST) ** (at / (STEPS - 1))
        video = video.clamp(-1.2, 1.2)
        if at < STEPS - CAREFUL:
            video = without_noise(video, tau, SIDE, windows, SPIN[at % len(SPIN)])
        else:
            video = without_noise(video, tau, STEP, windows)
        video = proximal(video, gain * (tau / noise) ** 2)
    least = 0.0 if means else LEAST_POLISH
    return without_noise(video, min(MOST_POLISH, max(least, POLISH * noise)), STEP, windows)
