"""Writing modules in the layouts that diffusers' and transformers' `from_pretrained` read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lvis.files import write_text
from lvis.weights import packed, safe
from lvis.weights.resolve import DELTA

if TYPE_CHECKING:
    from lvis.backbone import WanTransformer
    from lvis.vae import LeanVAE, WanVAE

WEIGHTS = "diffusion_pytorch_model.safetensors"


def save_transformer(
    transformer: WanTransformer,
    folder: str | Path,
    extra: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Write config.json, diffusion_pytorch_model.safetensors (diffusers' layout) and lvis.json to
    `folder`.

    Args:
        extra: plain values kept in lvis.json beside text_len, such as a student's task, VAE and
            timestep.
        dtype: what to store the weights in; theirs if not given.
        state: the weights by their names in diffusers' layout; the transformer's own if not given.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = Path(folder)
    save_state(state or transformer.net.state_dict(), folder / WEIGHTS, dtype)
    write_text(folder / "lvis.json", _json({"text_len": transformer.text_len, **(extra or {})}))
    write_text(folder / "config.json", transformer.net.to_json_string())


def save_packed_student(
    transformer: WanTransformer,
    folder: str | Path,
    base: Mapping[str, Tensor],
    extra: Mapping[str, Any] | None = None,
    base_source: str = packed.BASE,
) -> None:
    """Write a student as its 8-bit difference from `base`, the state dict in `base_source` (see
    packed.py).

    Raises:
        UserError: the folder cannot be written, or a weight is not finite.
    """
    folder = Path(folder)
    packed.pack(transformer.net.state_dict(), base, folder / DELTA, base_source)
    write_text(folder / "lvis.json", _json({"text_len": transformer.text_len, **(extra or {})}))


def save_wan_vae(vae: WanVAE, folder: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write a Wan VAE so that diffusers' `AutoencoderKLWan.from_pretrained(folder)` loads it,
    statistics included.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = Path(folder)
    save_state(vae.net.state_dict(), folder / WEIGHTS, dtype)
    config = {"_class_name": "AutoencoderKLWan", **vae.config}
    write_text(folder / "config.json", _json(config))


def save_lean_vae(vae: LeanVAE, folder: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write a LeanVAE: official key names, and a config.json with its sizes, variant and
    statistics.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = Path(folder)
    state = vae.state_dict()
    save_state(state, folder / WEIGHTS, dtype)
    config = {
        "_class_name": "LeanVAE",
        **vae.infer_config(state),
        "variant": vae.variant,
        "latents_mean": vae.latents_mean.flatten().tolist(),
        "latents_std": vae.latents_std.flatten().tolist(),
    }
    write_text(folder / "config.json", _json(config))


def save_state(state: Mapping[str, Tensor], path: Path, dtype: torch.dtype | None) -> None:
    """Write a state dict as safetensors, in `dtype` if given."""
    tensors = {
        key: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else None).contiguous()
        for key, tensor in state.items()
    }
    # transformers refuses files whose metadata does not say which framework wrote them
    safe.write_tensors(path, tensors, {"format": "pt"})


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, sort_keys=True) + "\n"
