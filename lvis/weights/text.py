"""Loading and saving UMT5 text encoders, in Wan's and in transformers' layout."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lvis.backbone import HubTokenizer, TextEncoder, WordTokenizer
from lvis.backbone.tokenizer import Tokenizer
from lvis.errors import UserError
from lvis.files import write_text
from lvis.weights import keys, safe
from lvis.weights.check import fill
from lvis.weights.load import cast, is_random, parameters_on_meta, plain, seeded, to_dtype
from lvis.weights.resolve import TEXT_ENCODER, Found, resolve
from lvis.weights.save import save_state

# where Wan's two repositories keep the tokenizer, beside the encoder or its subfolder
_TOKENIZER_FOLDERS = ("tokenizer", "google/umt5-xxl", "../tokenizer", ".")


def load_text_encoder(
    source: str,
    *,
    text_len: int | None = None,
    dtype: str | torch.dtype = "float32",
    tokenizer: str | None = None,
    config: Mapping[str, Any] | None = None,
    weights: str = "checkpoint",
    seed: int = 0,
) -> TextEncoder:
    """A UMT5 encoder with its tokenizer; the sizes are read off the tensors.

    Args:
        source: see resolve.py; a folder must hold the tokenizer too.
        text_len: tokens of an encoded prompt; what the source says if not given, else 512.
        dtype: of the parameters.
        tokenizer: a folder with the tokenizer, where the source has none.
        config: `UMT5Config` values for random weights, which come with hashed words for a
            tokenizer.

    Raises:
        UserError: see `load_transformer`; or there is no tokenizer.
    """
    dtype = to_dtype(dtype)
    if is_random(weights):
        sizes = plain(config) or infer_config(keys.tie_t5(_hf_state(resolve(source, TEXT_ENCODER))))
        words = WordTokenizer(sizes["vocab_size"])
        return seeded(lambda: TextEncoder(words, text_len or 512, sizes), seed).to(dtype).eval()
    found = resolve(source, TEXT_ENCODER)
    state = keys.tie_t5(_hf_state(found))
    sizes = infer_config(state)
    said = safe.read_json(found.extra) if found.extra else {}
    chosen = HubTokenizer(tokenizer) if tokenizer else _tokenizer(found, said, sizes["vocab_size"])
    with parameters_on_meta():
        encoder = TextEncoder(chosen, text_len or said.get("text_len") or 512, sizes)
    fill(encoder.net, cast(state, dtype), source)
    # filling gave the two names of the embedding a parameter each
    encoder.net.encoder.embed_tokens.weight = encoder.net.shared.weight
    return encoder.eval()


def save_text_encoder(
    encoder: TextEncoder, folder: str | Path, dtype: torch.dtype | None = None
) -> None:
    """Write an encoder so that transformers' `UMT5EncoderModel.from_pretrained(folder)` loads it.

    A tokenizer of hashed words is written as its name; a transformers tokenizer is saved beside.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = Path(folder)
    state = dict(encoder.net.state_dict())
    # the same tensor as `shared`, which transformers ties when it loads
    state.pop("encoder.embed_tokens.weight")
    save_state(state, folder / "model.safetensors", dtype)
    said: dict[str, Any] = {"text_len": encoder.text_len}
    if isinstance(encoder.tokenizer, WordTokenizer):
        said["tokenizer"] = "words"
    else:
        from transformers import AutoTokenizer

        assert isinstance(encoder.tokenizer, HubTokenizer)
        AutoTokenizer.from_pretrained(encoder.tokenizer.source).save_pretrained(
            folder / "tokenizer"
        )
    write_text(folder / "lvis.json", json.dumps(said, indent=2, sort_keys=True) + "\n")
    write_text(folder / "config.json", encoder.net.config.to_json_string(use_diff=False))


def infer_config(state: Mapping[str, Tensor]) -> dict[str, int]:
    """The `UMT5Config` values of an encoder, from shapes in the transformers layout.

    Raises:
        UserError: a tensor that tells a size is missing.
    """
    block = "encoder.block.0.layer."
    names = {
        "shared": "shared.weight",
        "query": block + "0.SelfAttention.q.weight",
        "bias": block + "0.SelfAttention.relative_attention_bias.weight",
        "inner": block + "1.DenseReluDense.wi_0.weight",
    }
    absent = [key for key in names.values() if key not in state or state[key].ndim != 2]
    if absent:
        raise UserError(f"a UMT5 encoder without the matrix {absent[0]}; give the whole encoder")
    buckets, heads = state[names["bias"]].shape
    return {
        "vocab_size": state[names["shared"]].shape[0],
        "d_model": state[names["shared"]].shape[1],
        "d_kv": state[names["query"]].shape[0] // heads,
        "d_ff": state[names["inner"]].shape[0],
        "num_layers": len({key.split(".")[2] for key in state if key.startswith("encoder.block.")}),
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
    }


def _hf_state(found: Found) -> dict[str, Tensor]:
    state = found.state()
    if keys.expect(state, ("t5", "t5_hf"), found.source) == "t5":
        return keys.t5_to_hf(state)
    return state


def _tokenizer(found: Found, said: Mapping[str, Any], vocab_size: int) -> Tokenizer:
    if said.get("tokenizer") == "words":
        return WordTokenizer(vocab_size)
    for base in (found.root, found.weights.parent):
        for name in _TOKENIZER_FOLDERS:
            folder = base / name
            if any((folder / file).is_file() for file in ("tokenizer.json", "spiece.model")):
                return HubTokenizer(str(folder))
    raise UserError(
        f"there is no tokenizer beside the text encoder {found.source}; "
        "give the folder that holds tokenizer.json as tokenizer=FOLDER"
    )
