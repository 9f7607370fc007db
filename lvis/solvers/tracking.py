"""The uncertainty of frames that a stream has returned, for operators that read them again.

A causal mean over frames reads frames of earlier blocks, and their errors come back with the next
block's measurement. The recursion y_t - y_{t-1} = (x_t - x_{t-w}) / w does not damp them, so an
inverse that takes its past as exact drifts away. Here the covariance of those errors is carried
from block to block by Kalman's equations (Kalman, 1960): the measurement is trusted as far as the
past allows. All pixels, or all spatial modes of one singular value, share one covariance, so that
the matrices are as small as the window.

Legend: T frames of the block, p past frames that A reads, s a singular value of the spatial part.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from lvis.kernels.transfer import sent
from lvis.operators import Composition, LinearOperator, Separable
from lvis.operators.axes import Axis, CausalMean, factors
from lvis.operators.mask import Inpainting
from lvis.solvers.consistency import Consistency, spatial_norm

# singular values between which gains are interpolated, a factor of 2^(1/3) apart
NODES = 32
NODES_PER_OCTAVE = 3


@dataclass(frozen=True)
class Gains:
    """x = x_hat + G (y - A x_hat) for one block, a matrix G (T, T) for each node of s.

    Attributes:
        values: the nodes, (N,), rising.
        matrices: (N, T, T), float64.
        after: covariance of the last frames once the block is given out, (N, p', p').
    """

    values: Tensor
    matrices: Tensor
    after: Tensor


def tracks(operator: LinearOperator) -> bool:
    """Whether `operator` is one that the recursion knows: a causal mean, alone, before a separable
    spatial part, or under a mask that does not move."""
    if isinstance(operator, Separable):
        return operator.has_past and not operator.official
    return (
        isinstance(operator, Composition)
        and isinstance(operator.outer, Inpainting)
        and not operator.outer.per_frame
        and (operator.outer.mask is None or tuple(operator.outer.mask.shape[:3]) == (1, 1, 1))
        and isinstance(operator.inner, Separable)
        and operator.inner.has_past
        and operator.inner.axes[1] is None
        and operator.inner.axes[2] is None
    )


def gains(
    operator: LinearOperator,
    seen: int,
    frames: int,
    consistency: Consistency,
    covariance: Tensor | None,
) -> Gains:
    """Of the next `frames` frames, after `seen` of the stream.

    Args:
        covariance: `Gains.after` of the block before; None at the beginning.
    """
    separable = _separable(operator)
    time = separable.axes[0]
    assert isinstance(time, CausalMean)
    after = time.after(seen)
    here = after.matrix(frames)
    past = after.past_matrix(frames) if seen else here.new_zeros(frames, 0)
    count = past.shape[1]
    values = _nodes()
    nodes = len(values)
    prior = here.new_zeros(nodes, count + frames, count + frames)
    if count:
        assert covariance is not None
        prior[:, :count, :count] = covariance[:, -count:, -count:]
    index = torch.arange(count, count + frames)
    prior[:, index, index] = (consistency.tau / spatial_norm(separable)) ** 2
    reads = values.view(-1, 1, 1) * torch.cat((past, here), dim=1)
    noise = operator.noise_std**2 + consistency.floor**2
    spread = reads @ prior @ reads.mT + noise * torch.eye(frames, dtype=here.dtype)
    # K = prior H^T spread^-1
    every = torch.linalg.solve(spread, reads @ prior).mT
    posterior = prior - every @ reads @ prior
    kept = min(time.window - 1, count + frames)
    return Gains(values, every[:, count:], posterior[:, -kept:, -kept:])


def correct(
    operator: LinearOperator, here: LinearOperator, gained: Gains, residual: Tensor
) -> Tensor:
    """G (y - A x_hat), (B, 3, T, H, W).

    Args:
        operator: of the stream.
        here: on the frames of this block.
        residual: y - A x_hat, of the measurement's shape.
    """
    if isinstance(operator, Composition):
        # where nothing is observed the residual is zero, and so is what it changes
        return _through_time(gained.matrices[_node_of_one()], residual)
    separable = _separable(here)
    if separable.axes[1] is None and separable.axes[2] is None:
        return _through_time(gained.matrices[_node_of_one()], residual)
    return _spectral(separable, gained, residual)


def _spectral(separable: Separable, gained: Gains, residual: Tensor) -> Tensor:
    rows, columns = separable.axes[1], separable.axes[2]
    working = residual.float()
    height, width = separable.video_shape(residual.shape)[3:]
    left: list[tuple[Tensor, int]] = []
    for axis, length, dim in ((rows, height, 3), (columns, width, 4)):
        if axis is None:
            continue
        part = factors(axis, length, working.dtype, working.device)
        working = _multiply(working, part.left.mT, dim)
        left.append((part.right, dim))
    modes = _modes(rows, columns, height, width, working.dtype, working.device)
    flat = working.flatten(3)
    result = torch.zeros_like(flat)
    matrices = sent(gained.matrices, flat.device, flat.dtype)
    for node, index, weight in modes.groups:
        inside = flat[..., index]
        lower = torch.einsum("st,bctm->bcsm", matrices[node], inside * (1 - weight))
        result[..., index] = lower + torch.einsum(
            "st,bctm->bcsm", matrices[node + 1], inside * weight
        )
    result = (result * modes.fall).view_as(working)
    for right, dim in left:
        result = _multiply(result, right, dim)
    return result.to(residual.dtype)


@dataclass(frozen=True)
class _Modes:
    """The spatial modes of an operator among the nodes, which stand at equal steps of log s.

    Attributes:
        groups: (node, the modes between it and the next, (M,), and how far between, (M,)).
        fall: below the last node the gain falls with s, (modes,).
    """

    groups: tuple[tuple[int, Tensor, Tensor], ...]
    fall: Tensor


@lru_cache(maxsize=8)
def _modes(
    rows: Axis | None,
    columns: Axis | None,
    height: int,
    width: int,
    dtype: torch.dtype,
    device: torch.device,
) -> _Modes:
    with torch.inference_mode(False), torch.no_grad():
        values = torch.ones((), dtype=dtype)
        for axis, length, dim in ((rows, height, 3), (columns, width, 4)):
            part = None if axis is None else factors(axis, length, dtype, torch.device("cpu"))
            own = torch.ones(length, dtype=dtype) if part is None else part.values
            values = values * own.reshape([-1] + [1] * (4 - dim))
        values = values.flatten()
        smallest = float(_nodes()[0])
        place = (values.clamp_min(smallest) / smallest).log2() * NODES_PER_OCTAVE
        place = place.clamp(0, NODES - 1)
        low = place.floor().clamp(max=NODES - 2)
        groups = []
        for node in range(NODES - 1):
            index = torch.nonzero(low == node).flatten()
            if len(index):
                share = (place - low)[index]
                groups.append((node, index.to(device), share.to(device)))
        return _Modes(tuple(groups), (values / smallest).clamp(max=1).to(device))


def _through_time(matrix: Tensor, video: Tensor) -> Tensor:
    return torch.einsum("st,bcthw->bcshw", sent(matrix, video.device, video.dtype), video)


def _multiply(value: Tensor, matrix: Tensor, dim: int) -> Tensor:
    return value @ matrix.mT if dim == 4 else matrix @ value


def _separable(operator: LinearOperator) -> Separable:
    inner = operator.inner if isinstance(operator, Composition) else operator
    assert isinstance(inner, Separable)
    return inner


def _nodes() -> Tensor:
    """Up to 1, the largest singular value of a blur or a mean of pixels."""
    steps = torch.arange(NODES, dtype=torch.float64) - (NODES - 1)
    return 2 ** (steps / NODES_PER_OCTAVE)


def _node_of_one() -> int:
    return NODES - 1
