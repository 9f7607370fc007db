"""SDXL's two text encoders, for the embedding of a prompt: run once, then dropped."""

from pathlib import Path
from typing import Any

import torch

from lvis.backbone.image_prior import Embedding
from lvis.errors import UserError
from lvis.weights.resolve import Kind

FOLDERS = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))
TEXT = Kind(
    "text encoders",
    "text_encoder",
    ("model.safetensors",),
    tuple(
        f"{folder}/{name}"
        for tokenizer, encoder in FOLDERS
        for folder, name in (
            (tokenizer, "*"),
            (encoder, "config.json"),
            (encoder, "model.safetensors"),
        )
    ),
)


@torch.no_grad()
def embed_prompt(root: Path, prompt: str) -> Embedding:
    """The prompt as SDXL reads it (Podell et al. 2023, section 2): both encoders' next to last hidden
    states side by side, and the second one's projected text.

    Args:
        root: a folder in diffusers' layout; only safetensors are read.

    Raises:
        UserError: an encoder or a tokenizer is missing.
    """
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    hidden: list[torch.Tensor] = []
    pooled = torch.empty(0)
    models: tuple[Any, Any] = (CLIPTextModel, CLIPTextModelWithProjection)
    for (tokenizer_folder, folder), kind in zip(FOLDERS, models, strict=True):
        if not (root / folder / "model.safetensors").is_file():
            raise UserError(f"there is no {folder}/model.safetensors in {root}; add it")
        if not (root / tokenizer_folder).is_dir():
            raise UserError(f"there is no {tokenizer_folder}/ in {root}; add it")
        tokenizer = CLIPTokenizer.from_pretrained(root / tokenizer_folder, local_files_only=True)
        encoder = kind.from_pretrained(root / folder, local_files_only=True, use_safetensors=True)
        length = encoder.config.max_position_embeddings
        tokens = tokenizer(
            prompt,
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        answer = encoder.eval()(tokens, output_hidden_states=True)
        hidden.append(answer.hidden_states[-2].float())
        pooled = answer[0].float()
    return Embedding(torch.cat(hidden, dim=-1), pooled)
