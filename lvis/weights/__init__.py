"""Weights: finding, verifying, converting, packing and saving checkpoints."""

from lvis.weights.load import (
    load_lean_vae,
    load_student,
    load_transformer,
    load_wan_vae,
)
from lvis.weights.packed import pack, unpack
from lvis.weights.resolve import resolve
from lvis.weights.save import (
    save_lean_vae,
    save_packed_student,
    save_transformer,
    save_wan_vae,
)

__all__ = [
    "load_lean_vae",
    "load_student",
    "load_transformer",
    "load_wan_vae",
    "pack",
    "resolve",
    "save_lean_vae",
    "save_packed_student",
    "save_transformer",
    "save_wan_vae",
    "unpack",
]
