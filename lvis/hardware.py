"""Which device and which arithmetic: where `auto` leads, and what decides how fast a GPU is."""

import os
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch

from lvis.cli.progress import say
from lvis.errors import UserError
from lvis.kernels.tf32 import set_tf32

# the dtype of transformers and decoders
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp8": "bfloat16"}
# of CUDA devices with float8 products (Ada and Hopper)
FP8_CAPABILITY = (8, 9)

_PCI = Path("/sys/bus/pci/devices")
_DRIVER = Path("/sys/module/nvidia/version")
_NVIDIA, _DISPLAY = "0x10de", "0x03"

# the first cuDNN whose attention torch prefers to FlashAttention on Hopper, for lengths that are
# not multiples of 128, too (9.15.0 for those that are)
CUDNN_ATTENTION = 91501
# the first cuDNN with which torch runs bfloat16 conv3d there rather than by vol2col (pytorch#166643)
CUDNN_CONV3D = 91500


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU; why not, if there is a GPU, is reported once.

    On CUDA, float32 is IEEE float32 from here on, in convolutions, too (torch's default is TF32
    there); the VAEs' `tf32` is for them alone.

    Raises:
        UserError: a name that is no device, or a device that is not there.
    """
    if name == "auto":
        device = torch.device("cuda" if _cuda_works() else "cpu")
    else:
        try:
            device = torch.device(name)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = unused_gpu() if name.startswith("cuda") else None
            because = f" ({reason})" if reason else ""
            raise UserError(
                f"device={name} cannot be used here{because}; use auto, cpu or a CUDA device that "
                "exists"
            ) from error
    if device.type == "cuda":
        set_tf32(False)
    return device


def pick_precision(name: str, device: torch.device) -> str:
    """`auto` is "bf16" on a CUDA device that computes in it (Ampere and later), else "fp32".

    Other names stay as they are.
    """
    if name != "auto":
        return name
    has_bf16 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return "bf16" if has_bf16 else "fp32"


def known_precision(name: str, device: torch.device, fp8: bool = False) -> str:
    """`pick_precision`, or an error.

    Args:
        fp8: whether the network has linear layers that can be in float8 (`lvis.kernels.fp8`).

    Raises:
        UserError: a name that is not in `PRECISIONS`, or fp8 where the network or the GPU cannot.
    """
    chosen = pick_precision(name, device)
    known = [each for each in PRECISIONS if fp8 or each != "fp8"]
    if chosen not in known:
        raise UserError(f"precision={name} is not known; use one of {', '.join(('auto', *known))}")
    if chosen == "fp8" and device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability < FP8_CAPABILITY:
            raise UserError(
                f"precision=fp8 needs a GPU of compute capability 8.9 or later, and this one has "
                f"{capability[0]}.{capability[1]}; use bf16"
            )
    return chosen


def pick_batch(size: int | None, device: torch.device) -> int:
    """Images in a network at once: `size`, or by default 8 where launching them one by one would
    leave the device idle, and 1 elsewhere."""
    if size is not None:
        return size
    return 8 if device.type == "cuda" else 1


def unused_gpu() -> str | None:
    """Why torch cannot use the NVIDIA GPU that this machine has; None without one, or if it can."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")
    if hidden or not _nvidia_gpus() or _cuda_state()[0]:
        return None
    if torch.version.cuda is None:
        return "this torch was built without CUDA"
    driver = _text(_DRIVER)
    if driver is None:
        return "no NVIDIA driver is loaded"
    said = _cuda_state()[1]
    if "too old" in said or "insufficient" in said:
        return (
            f"its driver {driver} is too old for this torch, which needs CUDA {torch.version.cuda}"
        )
    return (
        f"driver {driver}, torch for CUDA {torch.version.cuda}: {said or 'torch gives no reason'}"
    )


def cuda_facts(device: torch.device) -> dict[str, Any]:
    """What decides which kernels a CUDA device runs, for results; empty for other devices."""
    if device.type != "cuda":
        return {}
    version = torch.backends.cudnn.version()
    capability = torch.cuda.get_device_capability(device)
    return {
        "capability": ".".join(map(str, capability)),
        "driver": _text(_DRIVER),
        "cuda": torch.version.cuda,
        "cudnn": version,
        "tf32": "VAEs with precision=bf16; IEEE elsewhere",
        "notes": cudnn_notes(version, capability),
    }


def cudnn_notes(version: int | None, capability: tuple[int, int]) -> list[str]:
    """What an old cuDNN costs on a GPU of this capability, one sentence each.

    Args:
        version: as torch.backends.cudnn.version() gives it, 91501 for 9.15.1.
    """
    if version is None:
        return ["torch has no cuDNN: convolutions take torch's own kernels"]
    notes = []
    if capability[0] == 9 and version < CUDNN_ATTENTION:
        notes.append(
            f"cuDNN {version} is older than {CUDNN_ATTENTION}: attention takes FlashAttention 2, "
            "about half as fast on this GPU"
        )
    if version < CUDNN_CONV3D:
        notes.append(
            f"cuDNN {version} is older than {CUDNN_CONV3D}: bfloat16 conv3d takes torch's vol2col"
        )
    return notes


def _cuda_works() -> bool:
    works = _cuda_state()[0]
    if not works:
        _say_why()
    return works


@cache
def _say_why() -> None:
    if (reason := unused_gpu()) is not None:
        say(f"device=auto takes the CPU although this machine has an NVIDIA GPU: {reason}")


def _cuda_state() -> tuple[bool, str]:
    """Whether torch has a CUDA device, and what it warned of while it looked."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        works = torch.cuda.is_available()
    _remember("".join(str(each.message) for each in caught))
    return works, _warned[0]


# torch warns at its first look only
_warned = [""]


def _remember(text: str) -> None:
    if text:
        _warned[0] = " ".join(text.split())


def _nvidia_gpus() -> bool:
    """Whether a PCI display controller of NVIDIA's is in this machine, driver or not."""
    try:
        folders = list(_PCI.iterdir())
    except OSError:
        return False
    return any(
        _text(each / "vendor") == _NVIDIA and (_text(each / "class") or "").startswith(_DISPLAY)
        for each in folders
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None
