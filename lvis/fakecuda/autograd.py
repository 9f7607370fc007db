"""Autocast and fused attention for fake CUDA tensors, in Python.

In a backward pass the recorder lets C++ see CPU tensors (`Recorder.engine_on_cpu`), for its engine
asks the driver for streams; C++'s own autocast then does not see a CUDA tensor either.
"""

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_leaves, tree_map

from lvis.fakecuda.recorder import Recorder, on_fake_cuda

# functions of torch.nn.functional in the lower precision, in float32, and of torch in the widest
LOWER = ("linear", "conv1d", "conv2d", "conv3d")
WIDER = ("layer_norm", "group_norm", "softmax", "mse_loss", "l1_loss")
PROMOTE = ("addcmul", "cat", "stack")
HALF = (torch.bfloat16, torch.float16)
LARGEST_FLASH_HEAD = 256

functional = torch.nn.functional
aten: Any = torch.ops.aten


class Autocast:
    """What torch.autocast("cuda") does to the functions above, while it is on."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._copies: dict[int, Tensor] = {}

    def patches(self) -> Iterator[Any]:
        """Contexts to enter."""
        for names, owner, kind in (
            (LOWER, functional, "lower"),
            (WIDER, functional, "wider"),
            (PROMOTE, torch, "promote"),
        ):
            for name in names:
                plain = getattr(owner, name)
                yield mock.patch.object(owner, name, self._wrapped(plain, kind))
        plain = functional.scaled_dot_product_attention
        yield mock.patch.object(functional, "scaled_dot_product_attention", self._attention(plain))
        product = self._wrapped(torch.Tensor.__matmul__, "lower")
        yield mock.patch.object(FakeTensor, "__matmul__", lambda a, b: product(a, b), create=True)
        for name in ("to", "cpu", "cuda"):
            yield mock.patch.object(torch.Tensor, name, self._moving(name))
        yield mock.patch("torch.clear_autocast_cache", self._copies.clear)

    def _cast(self, given: Any, kind: str) -> Any:
        if not (self.recorder.engine_on_cpu and torch.is_autocast_enabled("cuda")):
            return given
        lower = torch.get_autocast_dtype("cuda")
        floats = [x for x in tree_leaves(given) if _casts(x)]
        wide = kind == "wider" or any(x.dtype == torch.float32 for x in floats)
        dtype = lower if kind == "lower" or not wide else torch.float32

        def cast(x: Any) -> Any:
            if not _casts(x) or x.dtype == dtype:
                return x
            if kind == "lower" and x.requires_grad and x.is_leaf:
                return self._copies.setdefault(id(x), x.to(dtype))
            return x.to(dtype)

        return tree_map(cast, given)

    def _wrapped(self, plain: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            args, options = self._cast((args, options), kind)
            return plain(*args, **options)

        return wrapped

    def _attention(self, plain: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def attend(
            query: Tensor,
            key: Tensor,
            value: Tensor,
            attn_mask: Tensor | None = None,
            dropout_p: float = 0.0,
            is_causal: bool = False,
            scale: float | None = None,
            enable_gqa: bool = False,
        ) -> Tensor:
            query, key, value = self._cast((query, key, value), "lower")
            if not on_fake_cuda(query):
                return plain(
                    query, key, value, attn_mask, dropout_p, is_causal, scale=scale,
                    enable_gqa=enable_gqa,
                )  # fmt: skip
            if not query.dtype == key.dtype == value.dtype:
                raise RuntimeError(f"attention of {query.dtype}, {key.dtype} and {value.dtype}")
            self.recorder.note("attention", f"{query.dtype} mask={attn_mask is not None}")
            flash = attn_mask is None and query.dtype in HALF
            if flash and query.shape[-1] <= LARGEST_FLASH_HEAD:
                return aten._scaled_dot_product_flash_attention(
                    query, key, value, 0.0, is_causal, scale=scale
                )[0]
            recorded = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
            return aten._scaled_dot_product_efficient_attention(
                query, key, value, attn_mask, recorded, 0.0, is_causal, scale=scale
            )[0]

        return attend

    def _moving(self, name: str) -> Callable[..., Tensor]:
        plain = getattr(torch.Tensor, name)

        def moved(tensor: Tensor, *args: Any, **options: Any) -> Tensor:
            seen = self.recorder.engine_on_cpu and any(
                isinstance(each, FakeTensor) for each in (tensor, *args, *options.values())
            )
            return (
                _moved(name, tensor, *args, **options) if seen else plain(tensor, *args, **options)
            )

        return moved


def _casts(x: Any) -> bool:
    return on_fake_cuda(x) and x.is_floating_point() and x.dtype != torch.float64


def _moved(name: str, tensor: Tensor, *args: Any, **options: Any) -> Tensor:
    """`Tensor.to`, `cpu` or `cuda` without C++'s idea of where the tensor is."""
    dtype, device = options.get("dtype"), options.get("device")
    waits_not = options.get("non_blocking", False)
    device = {"cpu": "cpu", "cuda": "cuda"}.get(name, device)
    for given in args:
        if isinstance(given, torch.dtype):
            dtype = given
        elif isinstance(given, Tensor):
            dtype, device = given.dtype, given.device
        elif isinstance(given, bool):
            waits_not = given
        elif isinstance(given, str | torch.device | int):
            device = given
    place = tensor.device if device is None else torch.device(device)
    if place.type == "cuda":
        place = torch.device("cuda", 0)
    layout = options.get("memory_format")
    same = place == tensor.device and (dtype or tensor.dtype) == tensor.dtype
    if (
        same
        and not options.get("copy")
        and (layout is None or tensor.is_contiguous(memory_format=layout))
    ):
        return tensor
    return aten._to_copy.default(
        tensor, dtype=dtype or tensor.dtype, device=place, non_blocking=waits_not,
        memory_format=layout,
    )  # fmt: skip
