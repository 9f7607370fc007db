"""Convolutions of video in two exact forms on CUDA: torch's conv3d, or conv2d with the taps in time apart.

cuDNN's depthwise conv3d has been reported as slow as a dense one (pytorch#110885), and its bfloat16
conv3d many times slower than matrix products at some shapes; neither is known before it is timed on
the card at hand. So the faster form of each shape is found at its first use outside autograd, unless
`set_form` says which; for that moment it needs the memory of the taps, three times the input.
Under autograd, and where nothing can be timed, it is conv3d.

Legend: B batch, C channels, t frames out, h w sides; past frames are part of the input.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

FORMS = ("auto", "direct", "taps")
RUNS = 3

_state: dict[str, str] = {"form": "auto"}
# the faster form of each (operation, shape, dtype, device)
_found: dict[tuple[Any, ...], str] = {}


def set_form(name: str) -> None:
    """One of `FORMS`, process-wide; "auto" forgets what was found before."""
    assert name in FORMS, name
    _state["form"] = name
    _found.clear()


def found_forms() -> dict[str, str]:
    """What "auto" found so far, for results."""
    return {" ".join(map(str, key)): form for key, form in _found.items()}


def depthwise(extended: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Depthwise convolution of (B, t + 2, h, w, C) with (C, 1, 3, 3, 3), padded by 1 in space.

    Returns:
        (B, t, h, w, C).
    """
    forms = {"direct": depthwise_direct, "taps": depthwise_taps}
    return _by_form("depthwise", forms, extended, weight, bias)


def dense(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolution of (B, C, t + k - 1, h, w), padded in space to the same size: (B, C', t, h, w)."""
    return _by_form("dense", {"direct": dense_direct, "taps": dense_taps}, x, weight, bias)


def depthwise_direct(extended: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """See `depthwise`: one conv3d."""
    video = extended.permute(0, 4, 1, 2, 3)
    output = F.conv3d(video, weight, bias, padding=(0, 1, 1), groups=weight.shape[0])
    return output.permute(0, 2, 3, 4, 1)


def depthwise_taps(extended: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """See `depthwise`: a depthwise conv2d for each of the three taps in time, summed in float32."""
    batch, length, rows, columns, width = extended.shape
    depth = length - weight.shape[2] + 1
    total: Tensor | None = None
    for tap in range(weight.shape[2]):
        frames = extended[:, tap : tap + depth].reshape(-1, rows, columns, width)
        part = F.conv2d(
            frames.permute(0, 3, 1, 2),
            weight[:, :, tap],
            bias if tap == 0 else None,
            padding=1,
            groups=width,
        )
        total = part.float() if total is None else total + part
    assert total is not None
    video = total.to(extended.dtype).unflatten(0, (batch, depth))
    return video.permute(0, 1, 3, 4, 2)


def dense_direct(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """See `dense`: one conv3d."""
    return F.conv3d(x, weight, bias, padding=(0, weight.shape[3] // 2, weight.shape[4] // 2))


def dense_taps(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """See `dense`: one conv2d with the taps in time as channels."""
    depth = x.shape[2] - weight.shape[2] + 1
    taps = torch.cat([x[:, :, tap : tap + depth] for tap in range(weight.shape[2])], dim=1)
    kernel = torch.cat(weight.unbind(2), dim=1)
    padding = (weight.shape[3] // 2, weight.shape[4] // 2)
    frames = F.conv2d(taps.transpose(1, 2).flatten(0, 1), kernel, bias, padding=padding)
    return frames.unflatten(0, (x.shape[0], depth)).transpose(1, 2)


def _by_form(
    operation: str,
    forms: dict[str, Callable[..., Tensor]],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
) -> Tensor:
    form = _state["form"]
    if form == "auto":
        form = _timed(operation, forms, x, weight, bias)
    return forms[form](x, weight, bias)


def _timed(operation: str, forms: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> str:
    """The faster form for these tensors, from `_found` or by a timing."""
    key = (operation, tuple(x.shape), tuple(weight.shape), x.dtype, x.device)
    if key in _found:
        return _found[key]
    recorded = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    if recorded or not x.is_cuda or torch.compiler.is_compiling():
        return "direct"
    seconds = {name: device_seconds(partial(run, x, weight, bias)) for name, run in forms.items()}
    _found[key] = min(seconds, key=lambda name: seconds[name])
    return _found[key]


def device_seconds(run: Callable[[], Any], runs: int = RUNS) -> float:
    """The shortest of `runs` runs on the current CUDA stream, after one that warms up."""
    run()
    shortest = float("inf")
    for _ in range(runs):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        run()
        ended.record()
        ended.synchronize()
        shortest = min(shortest, began.elapsed_time(ended) / 1000)
    return shortest
