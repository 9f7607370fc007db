"""Products along the axes of a video, and the singular value decomposition of a Kronecker product.

Legend: B batch, C channels, T frames, H W sides; a prime for the measurement's or the spectrum's.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from lvis.kernels.linear import linear, on_onednn
from lvis.operators.axes import Axis, factors, singular_values

# dimensions of (B, C, T, H, W)
TIME, ROWS, COLUMNS = 2, 3, 4
AXES = (TIME, ROWS, COLUMNS)

# kept counts are rounded up to a multiple of this, of which products are fast
GRANULE = 8


class Spectrum:
    """A = U S V^T for x with sides T, H, W, S the outer product of three vectors.

    Every method takes and gives (B, C, ...), float32 or float64. `kept` says how many of the largest
    singular values of each axis take part; the others count as zero.

    Args:
        axes: of time, rows and columns; None for the identity.
        lengths: T, H, W.
    """

    def __init__(
        self,
        axes: Sequence[Axis | None],
        lengths: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        present = [
            (axis, dim, length)
            for axis, dim, length in zip(axes, AXES, lengths, strict=True)
            if axis is not None
        ]
        self.parts = {dim: factors(axis, length, dtype, device) for axis, dim, length in present}
        # for decisions on the host
        self._values = {dim: singular_values(axis, length) for axis, dim, length in present}

    def kept(self, smallest: float) -> dict[int, int]:
        """The counts that leave out singular values of A (products) up to `smallest` alone."""
        counts = {}
        for dim, values in self._values.items():
            others = 1.0
            for other, theirs in self._values.items():
                others *= float(theirs[0]) if other != dim else 1.0
            large = int((values * others > smallest).sum())
            counts[dim] = min(len(values), max(1, -(-large // GRANULE)) * GRANULE)
        return counts

    def values(self, kept: Mapping[int, int]) -> Tensor:
        """S, broadcastable to (T', H', W')."""
        product = torch.ones(())
        for dim, part in self.parts.items():
            axis = part.values[: kept[dim]].reshape([-1] + [1] * (COLUMNS - dim))
            product = axis if product.ndim == 0 else product * axis
        return product

    def of_measurement(self, y: Tensor, kept: Mapping[int, int]) -> Tensor:
        """U^T y."""
        for dim, part in reversed(self.parts.items()):
            y = multiply(y, part.left[:, : kept[dim]].mT, dim)
        return y

    def of_video(self, x: Tensor, kept: Mapping[int, int]) -> Tensor:
        """V^T x."""
        for dim, part in reversed(self.parts.items()):
            x = multiply(x, part.right[:, : kept[dim]].mT, dim)
        return x

    def video(self, spectrum: Tensor) -> Tensor:
        """V spectrum, contiguous."""
        for dim, part in self.parts.items():
            spectrum = multiply(spectrum, part.right[:, : spectrum.shape[dim]], dim)
        return spectrum.contiguous()


def multiply(value: Tensor, matrix: Tensor, dim: int) -> Tensor:
    """matrix (m, n) applied along dimension `dim` of length n; need not be contiguous."""
    assert matrix.shape[1] == value.shape[dim]
    recorded = torch.is_grad_enabled() and value.requires_grad
    if dim != TIME and not recorded and on_onednn(value, matrix):
        if dim == COLUMNS:
            return linear(value.contiguous(), matrix)
        return linear(value.mT.contiguous(), matrix).mT
    if dim == COLUMNS:
        return value @ matrix.mT
    if dim == ROWS:
        return matrix @ value
    return torch.einsum("st,bcthw->bcshw", matrix, value)


def computed(value: Tensor, apply: Callable[[Tensor], Tensor]) -> Tensor:
    """apply(value) in float32 or better, outside autocast, in the dtype of `value`."""
    working = value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
    with torch.autocast(value.device.type, enabled=False):
        return apply(working).to(value.dtype)
