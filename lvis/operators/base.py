"""The interface of a linear operator, and what it can do when all that is known is A itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lvis.errors import UserError
from lvis.operators.cg import conjugate_gradients
from lvis.operators.draws import Draw, normal

ADJOINTS = ("exact", "official")
SPACES = ("pixel", "latent")

# AVIS takes five steps everywhere; with a substitute that is not the adjoint, more of them need
# not converge
OFFICIAL_ITERATIONS = 5
EXACT_ITERATIONS = 200
# of conjugate gradients in one step of a splitting; more are slower and hardly better
SPLITTING_STEPS = 16
POWER_ITERATIONS = 50


@dataclass(frozen=True)
class StreamState:
    """What an operator carries from block to block: a value, never changed in place.

    Attributes:
        frames: video frames seen so far.
        past: the last frames of x that A still reads, (B, C, p, H, W), or None when it reads none.
        parts: the states of a composition's parts.
    """

    frames: int = 0
    past: Tensor | None = None
    parts: tuple["StreamState", ...] = ()


class LinearOperator(nn.Module):
    """y = A(x) + noise_std * n, for x (B, C, T, H, W) in [-1, 1].

    A subclass needs `forward` alone: the adjoint is then a vector-Jacobian product, `pinv` and
    `prox` run conjugate gradients on the normal equations, and `norm` is a power iteration. The
    subclass overrides what it knows in closed form, and `video_shape` when A changes the shape.
    Samples of a batch must not mix. Set `streamable = True` when A treats frames independently.

    >>> import torch
    >>> from lvis.operators import LinearOperator
    >>> class Grey(LinearOperator):
    ...     streamable = True
    ...     def forward(self, x):
    ...         return x.mean(dim=1, keepdim=True)
    ...     def video_shape(self, y_shape):
    ...         return torch.Size((y_shape[0], 3, *y_shape[2:]))
    >>> A = Grey(noise_std=0.01)
    >>> x = torch.rand(1, 3, 9, 16, 16) * 2 - 1
    >>> y = A.measure(x, torch.Generator().manual_seed(0))
    >>> tuple(A.pinv(y).shape), tuple(A.prox(x, y, gamma=1.0).shape)
    ((1, 3, 9, 16, 16), (1, 3, 9, 16, 16))

    Args:
        noise_std: standard deviation of the Gaussian noise that `measure` adds, in units of x.
        adjoint: "exact" for A^T, or "official" for the substitute that the papers' codes use in
            its place (docs/deviations/operators.md); `pinv` and `prox` then run the papers'
            conjugate gradients with it.
        space: "pixel" or "latent", what x is.
        cg_iterations: most conjugate gradient steps; by default 200, and AVIS's 5 with
            adjoint="official".
        cg_tolerance: relative residual at which conjugate gradients stop.

    Raises:
        UserError: a negative noise level, an unknown adjoint or space.
    """

    streamable: bool = False
    # False for a measurement of which nobody knows how it was made
    known: bool = True

    def __init__(
        self,
        noise_std: float = 0.0,
        adjoint: str = "exact",
        space: str = "pixel",
        cg_iterations: int | None = None,
        cg_tolerance: float = 1e-6,
    ) -> None:
        super().__init__()
        if noise_std < 0:
            raise UserError(f"noise_std is {noise_std}: give a standard deviation of 0 or more")
        require_choice("adjoint", adjoint, ADJOINTS)
        require_choice("space", space, SPACES)
        self.noise_std = float(noise_std)
        self.adjoint_kind = adjoint
        self.space = space
        default = OFFICIAL_ITERATIONS if self.official else EXACT_ITERATIONS
        self.cg_iterations = default if cg_iterations is None else cg_iterations
        self.cg_tolerance = cg_tolerance

    @property
    def official(self) -> bool:
        """Whether `adjoint` is the papers' substitute rather than A^T."""
        return self.adjoint_kind == "official"

    # the maps

    def forward(self, x: Tensor) -> Tensor:
        """A x, differentiable: (B, C, T, H, W) -> the measurement's shape."""
        raise NotImplementedError

    def adjoint(self, y: Tensor, x_shape: torch.Size | tuple[int, ...] | None = None) -> Tensor:
        """A^T y (or its substitute), differentiable in y.

        Args:
            y: a measurement.
            x_shape: the shape of x, where `video_shape` cannot tell it from y's.
        """
        shape = self.video_shape(y.shape) if x_shape is None else x_shape
        differentiable = torch.is_grad_enabled() and y.requires_grad
        # a vector-Jacobian product needs autograd even where the caller has switched it off
        with torch.inference_mode(False), torch.enable_grad():
            cotangent = y.clone() if y.is_inference() else y
            x = torch.zeros(shape, dtype=y.dtype, device=y.device, requires_grad=True)
            (product,) = torch.autograd.grad(self(x), x, cotangent, create_graph=differentiable)
        return product if differentiable else product.detach()

    def pinv(self, y: Tensor) -> Tensor:
        """The pseudo-inverse A^+ y: the least-squares solution of smallest norm.

        With adjoint="official", the papers' initial estimate: a few conjugate gradient steps from
        `lift(y)`.
        """
        start = self.lift(y) if self.official else y.new_zeros(self.video_shape(y.shape))
        return self.least_squares(y, start, self.cg_iterations)

    def least_squares(self, y: Tensor, start: Tensor, steps: int) -> Tensor:
        """argmin_x |y - A x|^2, approximately: conjugate gradients on A^T A x = A^T y.

        Args:
            y: the measurement.
            start: the first iterate, of x's shape.
            steps: at most this many.
        """
        return conjugate_gradients(
            lambda x: self.adjoint(self(x), x.shape),
            self.adjoint(y, start.shape),
            start,
            steps,
            self.cg_tolerance,
        )

    def prox(self, x: Tensor, y: Tensor, gamma: float | Tensor) -> Tensor:
        """The proximal map argmin_x' gamma/2 |y - A x'|^2 + 1/2 |x' - x|^2.

        Args:
            x: (B, C, T, H, W).
            y: the measurement.
            gamma: weight of the data, a number or one per sample (B,).
        """
        return self._proximal(self.adjoint(y, x.shape), x, gamma, self.cg_iterations)

    def proximal(self, y: Tensor) -> Callable[[Tensor, float | Tensor], Tensor]:
        """(x, gamma) -> prox(x, y, gamma) for splittings, which apply it again and again.

        What belongs to y alone is computed once. Where conjugate gradients are needed, each
        application takes only the first `SPLITTING_STEPS` from x: the next one goes on from there.
        """
        held: list[Tensor] = []

        def apply(x: Tensor, gamma: float | Tensor) -> Tensor:
            if not held:
                held.append(self.adjoint(y, x.shape))
            return self._proximal(held[0], x, gamma, min(SPLITTING_STEPS, self.cg_iterations))

        return apply

    def _proximal(
        self, back_projection: Tensor, x: Tensor, gamma: float | Tensor, steps: int
    ) -> Tensor:
        weight = per_sample(gamma, x)
        return conjugate_gradients(
            lambda z: z + weight * self.adjoint(self(z), x.shape),
            x + weight * back_projection,
            x,
            steps,
            self.cg_tolerance,
        )

    def lift(self, y: Tensor) -> Tensor:
        """y brought to the shape of x for an encoder or an eye; not an inverse."""
        return y

    def measure(self, x: Tensor, generator: Draw = None) -> Tensor:
        """A(x) + noise_std * n with n standard normal, drawn on the generator's device.

        Args:
            generator: one for the batch, or one per sample.
        """
        y = self(x)
        return y if self.noise_std == 0 else y + self.noise_std * self._noise(x, y, generator)

    def _noise(self, x: Tensor, y: Tensor, generator: Draw) -> Tensor:
        return normal(y.shape, generator, y.device).to(y)

    def realise(
        self,
        x_shape: torch.Size | tuple[int, ...],
        generator: Draw = None,
    ) -> "LinearOperator":
        """This operator with its draw fixed for x of this shape; itself where nothing is random."""
        return self

    def missing(self, x_shape: torch.Size | tuple[int, ...]) -> Tensor | None:
        """1.0 where a mask hides x and 0.0 elsewhere, broadcastable to x; None for others."""
        return None

    # shapes and size

    def video_shape(self, y_shape: torch.Size | tuple[int, ...]) -> torch.Size:
        """The shape of x for a measurement of shape `y_shape`."""
        return torch.Size(y_shape)

    def measurement_shape(self, x_shape: torch.Size | tuple[int, ...]) -> torch.Size:
        """The shape of A(x) for x of shape `x_shape`."""
        with torch.no_grad():
            return self(torch.zeros(x_shape, device=self._device())).shape

    def norm(self, x_shape: torch.Size | tuple[int, ...]) -> float:
        """The largest singular value of A on videos of this shape (power iteration on A^T A)."""
        generator = torch.Generator().manual_seed(0)
        vector = torch.randn(x_shape, generator=generator).to(self._device())
        value = 0.0
        with torch.no_grad():
            for _ in range(POWER_ITERATIONS):
                vector = vector / vector.norm().clamp_min(torch.finfo(vector.dtype).tiny)
                image = self(vector)
                value = float(image.norm())
                vector = self.adjoint(image, x_shape)
        return value

    def _device(self) -> torch.device:
        return next((buffer.device for buffer in self.buffers()), torch.device("cpu"))

    # the stream form

    def block(self, state: StreamState | None, num_frames: int) -> tuple["LinearOperator", Tensor]:
        """The operator on the next `num_frames` frames: y_n = A_n x_n + offset.

        Args:
            state: what `advance` returned after the previous block; None begins a stream.
            num_frames: frames of x in this block.

        Returns:
            A_n, with a pseudo-inverse and a proximal map of its own, and the offset that the past
            contributes (a zero scalar where there is none).

        Raises:
            UserError: this operator reads the future (`streamable` is False).
        """
        self.require_streamable()
        return self, torch.zeros(())

    def advance(self, state: StreamState | None, x_block: Tensor) -> StreamState:
        """The state after the frames `x_block` (B, C, T_n, H, W) of x.

        Raises:
            UserError: this operator reads the future (`streamable` is False).
        """
        self.require_streamable()
        return StreamState(frames=(state.frames if state else 0) + x_block.shape[2])

    @property
    def has_past(self) -> bool:
        """Whether a block's measurement reads frames of earlier blocks."""
        return False

    def past_gain(self, state: StreamState | None, num_frames: int) -> float:
        """The norm of the map from past frames of x to the next block's measurement; 0 without one.

        An error of standard deviation tau in the frames given out before enters the measurement of
        the next `num_frames` frames as an error of at most past_gain * tau.
        """
        return 0.0

    def require_streamable(self) -> None:
        """Raises UserError when this operator reads the future."""
        if not self.streamable:
            raise UserError(self._unstreamable())

    def _unstreamable(self) -> str:
        return (
            f"{type(self).__name__} does not declare that it treats frames independently, so it "
            f"cannot be streamed: "
            "set streamable = True on the class if it does, or restore whole clips"
        )


def require_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises UserError when `value` is none of the choices."""
    if value not in choices:
        raise UserError(f"{name} is {value!r}: choose one of {', '.join(choices)}")


def per_sample(gamma: float | Tensor, x: Tensor) -> float | Tensor:
    """gamma as something that multiplies x: numbers stay, (B,) becomes (B, 1, ...)."""
    if isinstance(gamma, Tensor) and gamma.ndim == 1:
        return gamma.to(x).reshape(-1, *[1] * (x.ndim - 1))
    return gamma
