"""Weights: finding, verifying, converting, packing and saving checkpoints."""

from lvis.weights.load import (
    load_lean_vae,
    load_student,
    load_tae,
    load_transformer,
    load_wan_vae,
)
from lvis.weights.packed import pack, unpack
from lvis.weights.require import require
from lvis.weights.resolve import resolve
from lvis.weights.save import (
    save_lean_vae,
    save_packed_student,
    save_transformer,
    save_wan_vae,
)
from lvis.weights.text import load_text_encoder, save_text_encoder

__all__ = [
    "load_lean_vae",
    "load_student",
    "load_tae",
    "load_text_encoder",
    "load_transformer",
    "load_wan_vae",
    "pack",
    "require",
    "resolve",
    "save_lean_vae",
    "save_packed_student",
    "save_text_encoder",
    "save_transformer",
    "save_wan_vae",
    "unpack",
]
