"""Passes through the networks and floating-point operations, counted while a stream runs."""

from collections import Counter
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Any, Self

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lvis.solvers.base import Solver


class Count:
    """A context manager that counts what a solver's networks do inside it.

    Attributes:
        passes: calls of the transformer, of the VAE's encoder and of its decoder.
        flops: floating-point operations (a multiplication and an addition are two) of each of
            them; "all" is everything, the operator included. Matrix products, convolutions and
            attention are counted, as by torch's FlopCounterMode; what is not, such as sums and
            elementwise functions, is a small share.
    """

    def __init__(self, solver: Solver) -> None:
        self.passes: Counter[str] = Counter()
        self.flops: Counter[str] = Counter()
        self._solver = solver
        self._counter = FlopCounterMode(display=False)
        self._wrapped: list[tuple[nn.Module, str]] = []

    def __enter__(self) -> Self:
        transformer = getattr(self._solver, "transformer", None)
        vae = getattr(self._solver, "vae", None)
        for module, name, stage in (
            (transformer, "step", "transformer"),
            (transformer, "forward", "transformer"),
            (vae, "encode_block", "encode"),
            (vae, "decode_block", "decode"),
        ):
            if module is not None:
                self._wrap(module, name, stage)
        self._counter.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._counter.__exit__(kind, error, trace)
        self.flops["all"] = self._counter.get_total_flops()
        for module, name in self._wrapped:
            del module.__dict__[name]
        self._wrapped.clear()

    def _wrap(self, module: nn.Module, name: str, stage: str) -> None:
        method: Callable[..., Any] = getattr(module, name)

        @wraps(method)
        def counted(*args: Any, **options: Any) -> Any:
            before = self._counter.get_total_flops()
            answer = method(*args, **options)
            self.passes[stage] += 1
            self.flops[stage] += self._counter.get_total_flops() - before
            return answer

        # on the instance, in front of the class's method, until the context is left
        module.__dict__[name] = counted
        self._wrapped.append((module, name))
