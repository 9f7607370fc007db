"""torch.cuda as it is on a machine with one GPU, over a `Recorder`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from lvis.fakecuda.autograd import Autocast
from lvis.fakecuda.recorder import PINNED, Recorder


@contextmanager
def fake_cuda(recorder: Recorder) -> Iterator[Recorder]:
    """Within, "cuda" is a device: tensors on it are fake, and `recorder` sees what is done to them."""
    with ExitStack() as stack:
        lifted = torch._C._only_lift_cpu_tensors()
        # so that torch.tensor(..., device="cuda") is a copy that is seen
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, lifted)
        torch._C._ensureCUDADeviceGuardSet()  # type: ignore[attr-defined]
        for target, value in _patches(recorder).items():
            stack.enter_context(mock.patch(target, value))
        is_cuda = property(lambda tensor: tensor.fake_device.type == "cuda")
        stack.enter_context(mock.patch.object(FakeTensor, "is_cuda", is_cuda, create=True))
        for patch in Autocast(recorder).patches():
            stack.enter_context(patch)
        stack.enter_context(recorder)
        yield recorder


def move_to_fake(module: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """Parameters and buffers of a module, on whatever device, as fake CUDA ones, in place.

    Only inside `fake_cuda`. With `dtype`, parameters become that.
    """
    for each in module.modules():
        for name, parameter in list(each._parameters.items()):
            if parameter is not None:
                fake = torch.empty(parameter.shape, dtype=dtype or parameter.dtype, device="cuda")
                each._parameters[name] = nn.Parameter(fake, parameter.requires_grad)
        for name, buffer in list(each._buffers.items()):
            if buffer is not None:
                each._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device="cuda")
    return module


@contextmanager
def modules_move_to_fake() -> Iterator[None]:
    """Within, `module.to` a CUDA device is `move_to_fake`, whatever the module's parameters are."""
    moved = nn.Module.to

    def to(module: nn.Module, *args: Any, **options: Any) -> nn.Module:
        places = [x for x in (*args, options.get("device")) if isinstance(x, str | torch.device)]
        if not any(torch.device(place).type == "cuda" for place in places):
            return moved(module, *args, **options)
        dtypes = [x for x in (*args, options.get("dtype")) if isinstance(x, torch.dtype)]
        return move_to_fake(module, *dtypes)

    with mock.patch.object(nn.Module, "to", to):
        yield


def _patches(recorder: Recorder) -> dict[str, Any]:
    stream = _stream_class(recorder)

    def as_backward(run: Callable[..., Any]) -> Callable[..., Any]:
        def run_backward(*args: Any, **options: Any) -> Any:
            recorder.in_backward = recorder.engine_on_cpu
            try:
                return run(*args, **options)
            finally:
                recorder.in_backward = False

        return run_backward

    @contextmanager
    def use(_: Any) -> Iterator[None]:
        yield

    def always(value: Any) -> Callable[..., Any]:
        return lambda *_, **__: value

    class Properties:
        name, total_memory, multi_processor_count = "fake", 80 * 2**30, 132
        major, minor = recorder.capability

    return {
        "torch.cuda._lazy_init": always(None),
        "torch._subclasses.fake_tensor.init_gpu_context": always(None),
        "torch.cuda.is_available": always(True),
        "torch.cuda.device_count": always(1),
        "torch.cuda.current_device": always(0),
        "torch.cuda.get_device_properties": always(Properties),
        "torch.cuda.get_device_capability": always(recorder.capability),
        "torch.cuda.get_device_name": always("fake"),
        "torch.cuda.synchronize": lambda *_: recorder.note("sync", "torch.cuda.synchronize"),
        "torch.cuda.Event": _event_class(recorder),
        "torch.cuda.Stream": stream,
        "torch.cuda.current_stream": lambda *_: stream(),
        "torch.cuda.stream": use,
        "torch.cuda.reset_peak_memory_stats": lambda *_: recorder.forget_peak(),
        "torch.cuda.max_memory_allocated": lambda *_: recorder.peak,
        "torch.cuda.memory_allocated": lambda *_: recorder.live,
        "torch.cuda.amp.common.amp_definitely_not_available": always(False),
        "torch.cuda.is_bf16_supported": always(True),
        "torch.Tensor.record_stream": always(None),
        "torch.Tensor.pin_memory": _pinned,
        "torch.autograd.backward": as_backward(torch.autograd.backward),
        "torch.autograd.grad": as_backward(torch.autograd.grad),
    }


def _pinned(tensor: torch.Tensor, *_: Any) -> torch.Tensor:
    copy = tensor.clone()
    setattr(copy, PINNED, True)
    return copy


def _event_class(recorder: Recorder) -> type:
    class Event:
        def __init__(self, *_: Any, **__: Any) -> None: ...
        def record(self, *_: Any) -> None: ...
        def wait(self, *_: Any) -> None: ...

        def synchronize(self) -> None:
            recorder.note("sync", "event.synchronize")

        def query(self) -> bool:
            return True

        def elapsed_time(self, _: Any) -> float:
            return 1.0

    return Event


def _stream_class(recorder: Recorder) -> type:
    event = _event_class(recorder)

    class Stream:
        def __init__(self, *_: Any, **__: Any) -> None:
            self.device = torch.device("cuda:0")

        def wait_event(self, _: Any) -> None: ...
        def wait_stream(self, _: Any) -> None: ...

        def synchronize(self) -> None:
            recorder.note("sync", "stream.synchronize")

        def record_event(self, *_: Any) -> Any:
            return event()

    return Stream
