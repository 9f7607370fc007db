"""What a pass allocates and computes, while it runs on real tensors or on fake ones (torch's
FakeTensorMode, where every tensor has a shape, a dtype and a device but no storage)."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

GRADIENTS = "gradients"
COPIES = "low-precision copies of weights"
ELSEWHERE = "losses and operator"
# the kinds of operations, apart because a GPU has a rate for each: bfloat16 or float16; float32
# convolutions, which cuDNN runs as TF32; other float32 products, which torch does not
HALF, CONVOLUTION, SINGLE = "bf16", "tf32", "fp32"

aten = torch.ops.aten
CONVOLUTIONS = (aten.convolution, aten._convolution, aten.convolution_backward)
# torch's own; its counter is not used itself because its hooks on modules keep recomputed
# activations alive. Older versions have no formula for the CPU's fused attention.
FORMULAS: dict[Any, Any] = {
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[
        aten._scaled_dot_product_flash_attention
    ],
    aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        aten._scaled_dot_product_flash_attention_backward
    ],
    **flop_registry,
}


class Ledger:
    """A context manager that follows every storage born inside it, and every product.

    Args:
        persistent: modules whose parameters and buffers are there before and after; not counted.
        gradient_share: of a parameter's gradient that this process keeps (1 / processes when
            sharded).

    Attributes:
        live: bytes alive now, by the stage in which they were born, or `GRADIENTS` or `COPIES`.
        peak: the same at the moment at which their sum was largest since `forget_peak`; peak_stage
            is the stage of that moment.
        highest: of every stage the most that was alive at once, since `forget_peak`.
        operations: floating-point operations (a multiplication and an addition are two) by
            (stage, "forward" | "recompute" | "backward", kind). Matrix products, convolutions and
            attention are counted, as by torch's FlopCounterMode.

    Seen are the tensors that operators return. What a kernel uses inside (cuDNN's workspaces) and
    what the allocator loses to fragments are not.
    """

    def __init__(self, *persistent: nn.Module, gradient_share: float = 1.0) -> None:
        self.live: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self.highest: Counter[str] = Counter()
        self.peak_stage = ""
        self.operations: Counter[tuple[str, str, str]] = Counter()
        self.gradient_share = gradient_share
        self._total = self._most = 0.0
        self._stages = [ELSEWHERE]
        self._backward = self._ignoring = False
        self._born: dict[int, tuple[float, str]] = {}
        self._parameters: set[int] = set()
        self._known: set[int] = set()
        self._hooks: list[Any] = []
        self._wrapped: list[tuple[nn.Module, str]] = []
        self._persistent = persistent
        for module in persistent:
            self._parameters |= {_key(p) for p in module.parameters()}
            self._known |= self._parameters | {_key(b) for b in module.buffers()}

    def __enter__(self) -> Ledger:
        for module in self._persistent:
            for parameter in module.parameters():
                if parameter.requires_grad:
                    self._hooks.append(
                        parameter.register_post_accumulate_grad_hook(self._to_gradients)
                    )
        self._watch = _Watch(self._record)
        self._watch.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._watch.__exit__(*error)
        for hook in self._hooks:
            hook.remove()
        for module, name in self._wrapped:
            del module.__dict__[name]
        self._hooks.clear()
        self._wrapped.clear()

    @property
    def alive(self) -> float:
        """Bytes alive now."""
        return self._total

    def forget_peak(self) -> None:
        """Let the peak begin anew from what is alive now."""
        self._most, self.peak, self.peak_stage = self._total, self.live.copy(), self.stage
        self.highest = self.live.copy()

    @property
    def stage(self) -> str:
        """Where what is allocated and computed now belongs."""
        return "backward" if self._backward and len(self._stages) == 1 else self._stages[-1]

    def attribute(self, module: nn.Module, stage: str, method: str = "forward") -> None:
        """Count calls of a module's method as this stage, until the context is left."""
        plain: Callable[..., Any] = getattr(module, method)

        @wraps(plain)
        def staged(*args: Any, **options: Any) -> Any:
            with self.within(stage):
                return plain(*args, **options)

        # on the instance, in front of the class's method
        module.__dict__[method] = staged
        self._wrapped.append((module, method))

    @contextmanager
    def within(self, stage: str) -> Iterator[None]:
        """What happens inside belongs to this stage."""
        self._stages.append(stage)
        try:
            yield
        finally:
            self._stages.pop()

    @contextmanager
    def backward(self) -> Iterator[None]:
        """What happens inside is a backward pass: forward passes in it are recomputations."""
        self._backward = True
        try:
            yield
        finally:
            self._backward = False

    @contextmanager
    def ignoring(self) -> Iterator[None]:
        """What is born inside counts as having been there before."""
        self._ignoring = True
        try:
            yield
        finally:
            self._ignoring = False

    def hold_gradients(self, net: nn.Module) -> None:
        """Give a net the gradients of earlier micro-batches."""
        for parameter in filter(_is_trained, net.parameters()):
            parameter.grad = torch.zeros_like(parameter)
            self._to_gradients(parameter)

    def _record(self, func: Any, args: tuple[Any, ...], options: dict[str, Any], out: Any) -> None:
        if not self._ignoring:
            self._count(getattr(func, "_overloadpacket", func), args, options, out)
        for tensor in filter(_is_tensor, tree_leaves(out)):
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key in self._known or key in self._born:
                continue
            if self._ignoring:
                self._known.add(key)
                weakref.finalize(storage, self._known.discard, key)
                continue
            copied = func is aten._to_copy.default and _key(args[0]) in self._parameters
            name = COPIES if copied and tensor.dtype != args[0].dtype else self.stage
            self._born[key] = (float(storage.nbytes()), name)
            weakref.finalize(storage, self._died, key)
            self._change(name, float(storage.nbytes()))

    def _count(self, operator: Any, args: tuple[Any, ...], options: Any, out: Any) -> None:
        formula = FORMULAS.get(operator)
        if formula is None:
            return
        stage, kind = self.stage, "forward"
        if self._backward:
            kind = "backward" if stage == "backward" else "recompute"
        precision = CONVOLUTION if operator in CONVOLUTIONS else SINGLE
        if _is_half(args):
            precision = HALF
        self.operations[stage, kind, precision] += int(formula(*args, **options, out_val=out))

    def _died(self, key: int) -> None:
        size, name = self._born.pop(key, (0.0, ELSEWHERE))
        self._change(name, -size)

    def _to_gradients(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        key = _key(parameter.grad)
        size, name = self._born.get(key, (0.0, GRADIENTS))
        if name == GRADIENTS:
            return
        self._change(name, -size)
        self._born[key] = (size * self.gradient_share, GRADIENTS)
        self._change(GRADIENTS, size * self.gradient_share)

    def _change(self, name: str, size: float) -> None:
        self.live[name] += size  # type: ignore[assignment]
        self._total += size
        self.highest[name] = max(self.highest[name], self.live[name])
        if self._total > self._most:
            self._most, self.peak, self.peak_stage = self._total, self.live.copy(), self.stage


class _Watch(TorchDispatchMode):
    """Reports every operator with its arguments and what it returned."""

    def __init__(self, report: Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]) -> None:
        super().__init__()
        self._report = report

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self._report(func, args, kwargs or {}, out)
        return out


class SavedTensors:
    """A context manager that counts what autograd saves inside it for the backward pass, each
    storage once, the parameters and buffers of `persistent` aside.

    What `torch.utils.checkpoint` keeps (a block's inputs) does not go through autograd's hooks: the
    `Ledger` sees it.
    """

    def __init__(self, *persistent: nn.Module) -> None:
        self._storages: dict[int, int] = {}
        self._known = {
            _key(tensor)
            for module in persistent
            for tensor in (*module.parameters(), *module.buffers())
        }
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda saved: saved)

    def __enter__(self) -> SavedTensors:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)

    @property
    def bytes(self) -> int:
        return sum(self._storages.values())

    def _pack(self, tensor: Tensor) -> Tensor:
        if _key(tensor) not in self._known:
            self._storages[_key(tensor)] = tensor.untyped_storage().nbytes()
        return tensor


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _is_trained(parameter: Tensor) -> bool:
    return parameter.requires_grad


def _is_half(args: tuple[Any, ...]) -> bool:
    return any(
        leaf.dtype in (torch.bfloat16, torch.float16)
        for leaf in tree_leaves(args)
        if _is_tensor(leaf)
    )
