"""What a student sees of the operator: the share of each band of x that the measurement fixes.

For white noise n the map P n = prox_gamma(0, A n) keeps what A and the noise level let through and
loses the rest. In a band b of spatial and temporal frequency the share kept is
r_b = <n_b, (P n)_b> / |n_b|^2, about 0 to 1. One number per band describes a blur, a downsampling
or a mean over frames; a mask has the share of observed pixels, per latent cell. Ours.

Legend: B batch, T H W video frames and sides, t h w latent frames and sides.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from lvis.errors import UserError
from lvis.operators import Composition, Inpainting, LinearOperator

FRAMES_PER_LATENT = 4
PIXELS_PER_LATENT = 8

# frames and sides of the probe; 96 divides by the factors 2, 3, 4 and 8
PROBE = (12, 96, 96)
# upper ends of the octaves of spatial frequency, cycles per pixel; the lowest has no orientation
OCTAVES = (1 / 16, 1 / 8, 1 / 4, 1.0)
ORIENTATIONS = 3
# upper ends of the bands of temporal frequency, cycles per frame, at low spatial frequency
TEMPORAL = (0.01, 1 / 6, 1 / 3, 0.5)
BANDS = 1 + (len(OCTAVES) - 1) * ORIENTATIONS + len(TEMPORAL)
# bands, the share of each latent cell that was observed, and whether the operator is known
CHANNELS = BANDS + 2

# noise of this standard deviation (units of x) and above is the last of the student's timesteps
MOST_NOISE = 0.2


def noise_timestep(noise_std: float) -> float:
    """The noise level as the transformer's timestep, [0, 1000]."""
    return 1000.0 * min(1.0, noise_std / MOST_NOISE)


@torch.no_grad()
def responses(operator: LinearOperator, gamma: float, x_shape: tuple[int, ...]) -> Tensor:
    """r_b of every band, (BANDS,), of one operator on videos of `x_shape` (B, 3, T, H, W).

    A composition with a mask is taken as the product of its parts.
    """
    mask = operator.missing(x_shape) if operator.space == "pixel" else None
    if mask is not None:
        return torch.full((BANDS,), float(1 - mask.mean()) * gamma / (1 + gamma))
    if isinstance(operator, Composition) and isinstance(operator.outer, Inpainting):
        middle = tuple(operator.inner.measurement_shape(x_shape))
        outer = responses(operator.outer, gamma, middle)
        return outer * responses(operator.inner, gamma, x_shape)
    try:
        return _probe(operator, gamma, PROBE)
    except (UserError, RuntimeError):
        # an operator made for one size only
        return _probe(operator, gamma, x_shape[2:])


def condition(latents: Tensor, bands: Tensor | None, observed: Tensor | None = None) -> Tensor:
    """The student's input: z_in with the signature's channels, (B, 16 + CHANNELS, t, h, w).

    Args:
        latents: z_in, (B, 16, t, h, w).
        bands: (B or 1, BANDS); None for an unknown operator, all of whose channels are 0.
        observed: (B or 1, 1, t, h, w), the share of each latent cell; None where nothing is hidden.
    """
    batch, _, *grid = latents.shape
    if bands is None:
        return torch.cat((latents, latents.new_zeros(batch, CHANNELS, *grid)), dim=1)
    signature = bands.to(latents).view(-1, BANDS, 1, 1, 1).expand(batch, -1, *grid)
    ones = latents.new_ones(batch, 1, *grid)
    share = ones if observed is None else observed.to(latents).expand_as(ones)
    return torch.cat((latents, signature, share, ones), dim=1)


def shown_mask(operator: LinearOperator, x_shape: tuple[int, ...]) -> Tensor | None:
    """`operator.missing`, or that of a mask over something that keeps the shape; None for others."""
    if isinstance(operator, Composition) and isinstance(operator.outer, Inpainting):
        middle = tuple(operator.inner.measurement_shape(x_shape))
        return operator.outer.missing(x_shape) if middle == tuple(x_shape) else None
    return operator.missing(x_shape)


def latent_share(missing: Tensor, begins: bool = True, side: int = PIXELS_PER_LATENT) -> Tensor:
    """The share of each latent cell's pixels that was not measured.

    A latent cell covers side x side pixels of 1 frame (the first of a clip) or 4 frames.

    Args:
        missing: (B or 1, 1, T, H, W), 1 where the pixel is missing; T = 1 + 4 (t - 1), or 4 t.
        begins: whether the first frame is the clip's.

    Returns:
        (B or 1, 1, t, H / side, W / side) in [0, 1].
    """
    sides = (1, side, side)
    spatial = functional.avg_pool3d(missing.float(), sides)
    frames = (FRAMES_PER_LATENT, 1, 1)
    if not begins:
        return functional.avg_pool3d(spatial, frames)
    first, rest = spatial[:, :, :1], spatial[:, :, 1:]
    if rest.shape[2] == 0:
        return first
    return torch.cat([first, functional.avg_pool3d(rest, frames)], dim=2)


def _probe(operator: LinearOperator, gamma: float, lengths: tuple[int, ...]) -> Tensor:
    noise, spectrum, power = _noise(lengths)
    noise = noise.to(operator._device())
    kept = operator.prox(torch.zeros_like(noise), operator(noise), gamma)
    joint = (spectrum.conj() * torch.fft.fftn(kept.float().cpu(), dim=(2, 3, 4))).real.sum((0, 1))
    values = [joint[band].sum() / power[band].sum() for band in _bands(lengths)]
    return torch.stack(values).clamp(0, 1)


@lru_cache(maxsize=4)
def _noise(lengths: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    with torch.inference_mode(False):
        noise = torch.randn((1, 3, *lengths), generator=torch.Generator().manual_seed(0))
        spectrum = torch.fft.fftn(noise, dim=(2, 3, 4))
        return noise, spectrum, spectrum.abs().square().sum((0, 1))


@lru_cache(maxsize=4)
def _bands(lengths: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Which frequencies (T, H, W) belong to each band, bool."""
    with torch.inference_mode(False):
        time, rows, columns = (torch.fft.fftfreq(length) for length in lengths)
        rows, columns = rows.view(1, -1, 1), columns.view(1, 1, -1)
        radius = (rows**2 + columns**2).sqrt().expand(lengths)
        angle = torch.atan2(rows.abs().expand_as(radius), columns.abs().expand_as(radius))
        sector = (angle / (torch.pi / 2) * 4).floor().clamp(0, 3)
        oriented = (sector == 0, sector == 3, (sector == 1) | (sector == 2))
        bands = [radius < OCTAVES[0]]
        for low, high in zip(OCTAVES[:-1], OCTAVES[1:], strict=True):
            octave = (radius >= low) & (radius < high)
            bands += [octave & one for one in oriented]
        frequency, low = time.abs().view(-1, 1, 1), -1.0
        for high in TEMPORAL:
            here = (frequency > low) & (frequency <= high)
            bands.append(here.expand(lengths) & (radius < OCTAVES[1]))
            low = high
        return tuple(bands)
