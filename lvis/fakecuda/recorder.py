"""Every operation on a fake CUDA tensor: kernels with bytes and operations, memory, host syncs, copies."""

import sys
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry

aten: Any = torch.ops.aten
# operations whose result's shape or value the host waits for
SYNCS = {
    aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten._unique2, aten.unique_dim,
    aten.equal, aten.is_nonzero, aten.unique_consecutive, aten.bincount, aten._unique,
}  # fmt: skip
# operations that launch no kernel
FREE = {
    aten._unsafe_view, aten.detach, aten.empty, aten.empty_strided, aten.empty_like,
    aten.new_empty, aten.new_empty_strided, aten.lift_fresh, aten.set_, aten.resize_,
    aten.is_same_size, aten.sym_size, aten.sym_stride,
}  # fmt: skip
PINNED = "_lvis_pinned"
COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
GRANULE = 512  # bytes to which CUDA's allocator rounds


@dataclass(frozen=True)
class Event:
    """Something on the way that a GPU would notice.

    Attributes:
        kind: "sync" (the host waits), "h2d" and "d2h" (copies that it waits for), "h2d queued" (one
            from pinned memory, for which it does not), "mixed" (a CPU tensor in a CUDA
            operation), "scalar" (a CPU tensor of no dimension there, which is allowed), "attention".
        site: the innermost place in lvis, as file:line.
    """

    phase: str
    kind: str
    detail: str
    site: str


@dataclass(frozen=True)
class Kernel:
    """One launch: bytes read and written, floating-point operations (a multiplication and an
    addition are two), and the dtype of its first input."""

    phase: str
    operation: str
    nbytes: int
    flops: int
    dtype: str


class Recorder(TorchDispatchMode):
    """Runs CUDA operations on fake tensors and keeps a record; see `fake_cuda`, which enters it.

    Args:
        capability: of the device that is feigned.
        scalar: what every number read from the device is.

    Attributes:
        phase: name of what runs now, set by the caller.
        listening: whether events and kernels are kept.
        live, peak: bytes in CUDA tensors, now and at most since `forget_peak`.
    """

    def __init__(self, capability: tuple[int, int] = (9, 0), scalar: float = 1.0) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.capability, self.scalar = capability, scalar
        self.phase, self.listening = "", True
        self.events: list[Event] = []
        self.kernels: list[Kernel] = []
        self.live = self.peak = 0
        # see `lvis.fakecuda.autograd`
        self.engine_on_cpu = self.in_backward = False
        self._storages: dict[int, int] = {}

    def note(self, kind: str, detail: str) -> None:
        if self.listening:
            self.events.append(Event(self.phase, kind, detail, _site()))

    def forget_peak(self) -> None:
        self.peak = self.live

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.prim.device.default and isinstance(args[0], FakeTensor):
            # autograd's engine would look for the streams of a real GPU
            return torch.device("cpu") if self.engine_on_cpu else args[0].fake_device
        leaves = tree_leaves((args, kwargs))
        fakes = [x for x in leaves if on_fake_cuda(x)]
        device = next((x for x in leaves if isinstance(x, torch.device)), None)
        if self.in_backward and _made_by_a_formula(device, fakes, leaves, kwargs):
            device = torch.device("cuda")
            kwargs = {**kwargs, "device": device}
        target = None if device is None else torch.device(device).type
        if not fakes and target != "cuda":
            return func(*args, **kwargs)
        if _decomposes(func):
            with self:
                # not func.decompose, which prefers the compiler's formulas in Python, of many kernels, to C++'s
                return func._op_dk(COMPOSITE, *args, **kwargs)
        packet = func._overloadpacket
        found = self._read(packet, args)
        if found is not None:
            return found
        host = [x for x in leaves if isinstance(x, Tensor) and not isinstance(x, FakeTensor)]
        if packet is aten._to_copy and fakes and target == "cpu":
            self.note("d2h", _described(fakes[0]))
            return torch.zeros(fakes[0].shape, dtype=kwargs.get("dtype") or fakes[0].dtype)
        if packet is aten.copy_ and not isinstance(args[0], FakeTensor):
            self.note("d2h", _described(args[1]))
            return args[0]
        if host:
            waits = not (kwargs.get("non_blocking") and getattr(host[0], PINNED, False))
            self._note_host(packet, target, host, waits)
            # stand-ins without a value, or torch would run the operation for real on the device
            args, kwargs = tree_map(self._stand_in, (args, kwargs))
        with self.fake:
            out = func(*args, **kwargs)
        self._count(func, packet, args, kwargs, fakes, out)
        return out

    def _read(self, packet: Any, args: Sequence[Any]) -> Any:
        """The value of an operation that reads from the device; None for all others."""
        if packet in SYNCS:
            self.note("sync", str(packet))
        if packet in (aten.index, aten.index_put, aten.index_put_):
            for index in args[1] or ():
                if isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8):
                    self.note("sync", f"{packet} by a mask")
                if isinstance(index, Tensor) and not isinstance(index, FakeTensor):
                    self.note("h2d", f"{packet} by an index on the CPU")
        if packet is not aten._local_scalar_dense:
            return None
        dtype = args[0].dtype
        kind = bool if dtype == torch.bool else float if dtype.is_floating_point else int
        return kind(self.scalar)

    def _note_host(self, packet: Any, target: str | None, host: list[Tensor], waits: bool) -> None:
        if packet is aten.copy_ or (packet is aten._to_copy and target == "cuda"):
            self.note("h2d" if waits else "h2d queued", _described(host[0]))
            return
        for tensor in host:
            self.note("mixed" if tensor.ndim else "scalar", str(packet))

    def _stand_in(self, value: Any) -> Any:
        real = isinstance(value, Tensor) and not isinstance(value, FakeTensor)
        return self.fake.from_tensor(value) if real else value

    def _count(
        self, func: Any, packet: Any, args: Any, kwargs: Any, fakes: list[Any], out: Any
    ) -> None:
        outs = [x for x in tree_leaves(out) if on_fake_cuda(x)]
        for tensor in outs:
            self._hold(tensor)
        changes = func._schema.is_mutable
        inside = {x.untyped_storage()._cdata for x in fakes}
        view = bool(outs) and all(x.untyped_storage()._cdata in inside for x in outs)
        if packet in FREE or (view and not changes) or not self.listening:
            return
        read = sum(_traffic(x) for x in {id(x): x for x in fakes}.values())
        written = sum(_traffic(x) for x in outs if not any(x is y for y in fakes))
        if changes and fakes:
            written += fakes[0].numel() * fakes[0].element_size()
        flops = 0
        if packet in flop_registry:
            flops = int(flop_registry[packet](*args, **kwargs, out_val=out))
        dtype = str((fakes or outs)[0].dtype).removeprefix("torch.") if fakes or outs else ""
        kernel = Kernel(self.phase, str(packet), read + written, flops, dtype)
        self.kernels.append(kernel)

    def _hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._storages:
            return
        held = -(-storage.nbytes() // GRANULE) * GRANULE
        self._storages[key] = held
        self.live += held
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self.live -= self._storages.pop(key, 0)


def on_fake_cuda(value: Any) -> bool:
    return isinstance(value, FakeTensor) and value.device.type == "cuda"


def _decomposes(func: Any) -> bool:
    packet = func._overloadpacket
    if packet in FREE or packet is aten._scaled_dot_product_flash_attention:
        return False
    has: Callable[..., bool] = torch._C._dispatch_has_kernel_for_dispatch_key
    return packet is aten.to or has(func.name(), "CompositeImplicitAutograd")


def _made_by_a_formula(device: Any, fakes: list[Any], leaves: list[Any], kwargs: Any) -> bool:
    """Whether this makes a tensor within a backward formula, which asked for the engine's device."""
    if device is None or torch.device(device).type != "cpu" or "device" not in kwargs:
        return False
    return bool(fakes) or not any(isinstance(x, Tensor) for x in leaves)


def _traffic(tensor: Tensor) -> int:
    # an expanded tensor is read once
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _described(tensor: Tensor) -> str:
    size = tensor.numel() * tensor.element_size() / 1e6
    return f"{tuple(tensor.shape)} {tensor.dtype} {size:.3f} MB"


def _site() -> str:
    """The innermost place in lvis outside this package, as file:line."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if "/lvis/" in name and "/fakecuda/" not in name and "site-packages" not in name:
            return f"{name.rsplit('/lvis/', 1)[-1]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"
