"""Linear operators y = A(x) + n: adjoint, pseudo-inverse, proximal map, and their stream form."""

from lvis.operators.base import LinearOperator, StreamState
from lvis.operators.cg import conjugate_gradients
from lvis.operators.composition import Composition, compose
from lvis.operators.deepinv import from_deepinv, to_deepinv
from lvis.operators.families import AnyOperator
from lvis.operators.identity import Identity, Unknown
from lvis.operators.mask import Inpainting
from lvis.operators.mask_files import load_mask
from lvis.operators.separable import Separable
from lvis.operators.spatial import Downsampling, GaussianBlur
from lvis.operators.temporal import TemporalAverage

__all__ = [
    "AnyOperator",
    "Composition",
    "Downsampling",
    "GaussianBlur",
    "Identity",
    "Inpainting",
    "LinearOperator",
    "Separable",
    "StreamState",
    "TemporalAverage",
    "Unknown",
    "compose",
    "conjugate_gradients",
    "from_deepinv",
    "load_mask",
    "to_deepinv",
]
