"""The sizes of a Wan transformer: from diffusers' or Wan's config, or read off the tensors."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lvis.errors import UserError

# what WanTransformer takes; diffusers' names
_SIZES = (
    "num_attention_heads",
    "attention_head_dim",
    "num_layers",
    "ffn_dim",
    "text_dim",
    "text_len",
    "freq_dim",
    "in_channels",
    "out_channels",
    "patch_size",
    "eps",
)
# what only other members of the Wan family change; the text-to-video model has these values
_FIXED: dict[str, tuple[Any, ...]] = {
    "cross_attn_norm": (True,),
    "qk_norm": ("rms_norm_across_heads", True),
    "image_dim": (None,),
    "added_kv_proj_dim": (None,),
    "pos_embed_seq_len": (None,),
    "model_type": ("t2v",),
    "window_size": ((-1, -1),),
}
# rope_max_seq_len is the length of a table that we do without
_IGNORED = ("rope_max_seq_len",)
_ORIGINAL = {"in_dim": "in_channels", "out_dim": "out_channels", "num_heads": "num_attention_heads"}
_HEAD_DIM = 128


def from_config(config: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """`WanTransformer`'s arguments from a config in diffusers' or in Wan's own names.

    Raises:
        UserError: an unknown key, or a member of the Wan family other than text-to-video.
    """
    sizes: dict[str, Any] = {}
    for key, value in config.items():
        value = tuple(value) if isinstance(value, list) else value
        if key.startswith("_") or key in _IGNORED or key == "dim":
            continue
        if key in _FIXED:
            if value not in _FIXED[key]:
                raise UserError(
                    f"{origin} has {key}={value!r}, which is not a Wan 2.1 text-to-video "
                    f"transformer ({key}={_FIXED[key][0]!r}); give another checkpoint"
                )
            continue
        name = _ORIGINAL.get(key, key)
        if name not in _SIZES:
            raise UserError(
                f"{origin} has the unknown key {key}; a transformer has {', '.join(_SIZES)}"
            )
        sizes[name] = value
    if "dim" in config:
        heads = sizes.get("num_attention_heads")
        if not heads or config["dim"] % heads:
            raise UserError(
                f"{origin} has dim={config['dim']} for {heads} heads; give num_heads that "
                "divides dim"
            )
        sizes["attention_head_dim"] = config["dim"] // heads
    return sizes


def from_state(state: Mapping[str, Tensor], origin: str) -> dict[str, Any]:
    """`WanTransformer`'s arguments from the shapes of a state dict in the diffusers layout.

    Shapes do not tell the number of heads: heads of 128 are assumed, as in every Wan model.

    Raises:
        UserError: a tensor that tells a size is missing, or the width is not a multiple of 128.
    """
    needed = {
        "patch_embedding.weight": 5,
        "proj_out.weight": 2,
        "condition_embedder.time_embedder.linear_1.weight": 2,
        "condition_embedder.text_embedder.linear_1.weight": 2,
        "blocks.0.ffn.net.0.proj.weight": 2,
    }
    for key, dims in needed.items():
        if key not in state or state[key].ndim != dims:
            raise UserError(
                f"{origin} has no {dims}-dimensional {key}, which tells the model's size; give a "
                "config"
            )
    width, in_channels, *patch = state["patch_embedding.weight"].shape
    if width % _HEAD_DIM:
        raise UserError(
            f"{origin} has width {width} and no config, and shapes do not tell the number of "
            "heads; "
            "give config={num_attention_heads: ..., attention_head_dim: ...} or a folder with "
            "config.json"
        )
    volume = patch[0] * patch[1] * patch[2]
    return {
        "num_attention_heads": width // _HEAD_DIM,
        "attention_head_dim": _HEAD_DIM,
        "num_layers": len({key.split(".")[1] for key in state if key.startswith("blocks.")}),
        "ffn_dim": state["blocks.0.ffn.net.0.proj.weight"].shape[0],
        "text_dim": state["condition_embedder.text_embedder.linear_1.weight"].shape[1],
        "freq_dim": state["condition_embedder.time_embedder.linear_1.weight"].shape[1],
        "in_channels": in_channels,
        "out_channels": state["proj_out.weight"].shape[0] // volume,
        "patch_size": tuple(patch),
    }
