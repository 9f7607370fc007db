"""The latent image prior's files, in diffusers' layout of SDXL: unet/, vae/, and the null prompt's embedding."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn

from lvis.backbone.image_prior import Embedding, ImagePrior, pooled_width, token_width
from lvis.errors import UserError
from lvis.files import write_text
from lvis.weights import safe
from lvis.weights.check import fill
from lvis.weights.load import cast, parameters_on_meta
from lvis.weights.resolve import Found, Kind, resolve

WEIGHTS = "diffusion_pytorch_model.safetensors"
NULL = "null_embedding.safetensors"


def _kind(name: str, folder: str) -> Kind:
    names = (WEIGHTS, f"{WEIGHTS}.index.json", "diffusion_pytorch_model.fp16.safetensors")
    return Kind(name, folder, names, (f"{folder}/config.json", f"{folder}/{WEIGHTS}"))


UNET, VAE = _kind("image UNet", "unet"), _kind("image VAE", "vae")
NULL_EMBEDDING = Kind("null embedding", "null_embedding", (NULL,), (NULL,))
SDXL_EMBEDDING = "encode the empty prompt with save_null_embedding"


def save_image_prior(
    prior: ImagePrior, folder: str | Path, dtype: torch.dtype = torch.float16
) -> None:
    """Write unet/, vae/ and null_embedding.safetensors to `folder`.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = Path(folder)
    for name, net in (("unet", prior.unet), ("vae", prior.vae)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        state = {key: value.to(dtype).contiguous() for key, value in net.state_dict().items()}
        safe.write_tensors(folder / name / WEIGHTS, state, {"format": "pt"})
        config = json.dumps(json.loads(net.to_json_string()), indent=2)
        write_text(folder / name / "config.json", config + "\n")
    save_null_embedding(Embedding(prior.null_tokens, prior.null_pooled), folder)


def save_null_embedding(null: Embedding, folder: str | Path) -> None:
    """Write the empty prompt's embedding beside the networks.

    Raises:
        UserError: the folder cannot be written.
    """
    tensors = {"tokens": null.tokens.contiguous(), "pooled": null.pooled.contiguous()}
    safe.write_tensors(Path(folder) / NULL, tensors, {"format": "pt"})
