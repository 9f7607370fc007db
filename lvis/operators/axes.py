"""What an operator does along one axis of the video: a matrix a length, and its factors, cached.

An axis is a frozen dataclass, so it is the key of the caches and holds no tensor. The caches are
bounded: a stream uses two or three block lengths, and a height and a width. What they hold is made
outside inference mode, since an inference tensor made while restoring could not be used in
training afterwards.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from lvis.errors import UserError
from lvis.operators import kernels


@dataclass(frozen=True)
class Axis:
    """A linear map along one axis."""

    def matrix(self, length: int) -> Tensor:
        """A, float64 (outputs, length)."""
        raise NotImplementedError

    def lift_matrix(self, count: int) -> Tensor | None:
        """From the measurement's `count` samples to x's, float64; None for the identity."""
        return None

    def substitute(self, length: int) -> Tensor | None:
        """The codes' substitute for the adjoint, float64 (length, outputs); None for identity."""
        return self.lift_matrix(self.output_length(length))

    def output_length(self, length: int) -> int:
        return length

    def input_length(self, count: int) -> int:
        return count


@dataclass(frozen=True)
class Gaussian(Axis):
    """Gaussian blur; see `kernels.gaussian_kernel` and `kernels.convolution_matrix`."""

    size: int
    sigma: float
    border: str
    truncate: float | None = None

    def matrix(self, length: int) -> Tensor:
        kernel = kernels.gaussian_kernel(self.size, self.sigma, self.truncate)
        return kernels.convolution_matrix(kernel, length, self.border)


@dataclass(frozen=True)
class Downsample(Axis):
    """Averages of `factor` samples ("average") or the antialiased cubic ("cubic")."""

    factor: int
    filter: str

    def matrix(self, length: int) -> Tensor:
        if self.filter == "average":
            return kernels.average_pool_matrix(length, self.factor)
        return kernels.cubic_downsample_matrix(length, self.factor)

    def lift_matrix(self, count: int) -> Tensor:
        return kernels.linear_upsample_matrix(count, self.factor)

    def output_length(self, length: int) -> int:
        if length % self.factor:
            raise UserError(
                f"a side of {length} pixels does not divide by the downsampling factor "
                f"{self.factor}: "
                f"crop it to {length - length % self.factor}"
            )
        return length // self.factor

    def input_length(self, count: int) -> int:
        return count * self.factor


@dataclass(frozen=True)
class CausalMean(Axis):
    """The mean of the last `window` frames, after `seen` (at most window - 1) of the stream."""

    window: int
    seen: int = 0

    def matrix(self, length: int) -> Tensor:
        return kernels.causal_mean_matrix(length, self.window, self.seen)[0]

    def past_matrix(self, length: int) -> Tensor:
        """The weights of the `seen` frames before the block, float64 (length, seen)."""
        return kernels.causal_mean_matrix(length, self.window, self.seen)[1]

    def substitute(self, length: int) -> Tensor:
        # AVIS's code has the exact adjoint here
        return self.matrix(length).T

    def after(self, frames: int) -> "CausalMean":
        """The same mean once `frames` frames of the stream have gone by."""
        return replace(self, seen=min(frames, self.window - 1))


@dataclass(frozen=True)
class CentredMean(Axis):
    """The mean of `window` frames around each; the border rules of `kernels.convolution_matrix`."""

    window: int
    border: str

    def matrix(self, length: int) -> Tensor:
        kernel = torch.full((self.window,), 1 / self.window, dtype=torch.float64)
        return kernels.convolution_matrix(kernel, length, self.border)

    def substitute(self, length: int) -> Tensor:
        # VISION-XL's circular mean is its own adjoint, and no code has one for the replicate border
        return self.matrix(length).T


@dataclass(frozen=True)
class Factors:
    """A = left diag(values) right^T, economy size, values descending."""

    left: Tensor
    values: Tensor
    right: Tensor


# the largest useful matrix (1920 x 1920) has 90 MB of float64 factors, and a clip needs three sets
@lru_cache(maxsize=12)
def _decompose(axis: Axis, length: int) -> Factors:
    # in float64: once per size, and the small singular values are worth their digits
    with torch.inference_mode(False), torch.no_grad():
        left, values, right = torch.linalg.svd(axis.matrix(length), full_matrices=False)
        return Factors(left, values, right.mT.contiguous())


@lru_cache(maxsize=24)
def factors(axis: Axis, length: int, dtype: torch.dtype, device: torch.device) -> Factors:
    """The singular value decomposition of `axis.matrix(length)`, computed in float64."""
    exact = _decompose(axis, length)
    with torch.inference_mode(False):
        return Factors(
            *(part.to(device, dtype) for part in (exact.left, exact.values, exact.right))
        )


def singular_values(axis: Axis, length: int) -> Tensor:
    """Of `axis.matrix(length)`, float64 on the CPU, descending."""
    return _decompose(axis, length).values


def largest_value(axis: Axis, length: int) -> float:
    """The largest singular value."""
    return float(singular_values(axis, length)[0])


@lru_cache(maxsize=24)
def past_norm(axis: CausalMean, length: int) -> float:
    """The largest singular value of what `axis` reads of the frames before a block."""
    matrix = axis.past_matrix(length)
    return float(torch.linalg.matrix_norm(matrix, ord=2)) if matrix.numel() else 0.0


@lru_cache(maxsize=48)
def cached(
    axis: Axis, kind: str, length: int, dtype: torch.dtype, device: torch.device
) -> Tensor | None:
    """The matrix of `axis.<kind>(length)` in this dtype on this device; None for the identity."""
    with torch.inference_mode(False):
        matrix = getattr(axis, kind)(length)
        return None if matrix is None else matrix.to(device, dtype)
