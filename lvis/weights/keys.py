"""Key names: unwrapping state dicts, telling layouts apart, converting between them."""

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lvis.errors import UserError

State = dict[str, Tensor]

log = logging.getLogger(__name__)

# names that wrappers insert anywhere in a key: FSDP, activation checkpointing, torch.compile
_INSERTED = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
# names that wrappers put in front of every key: ComfyUI, Self-Forcing's WanDiffusionWrapper, DDP,
# our WanTransformer
_LEADING = ("model.diffusion_model.", "diffusion_model.", "model.", "module.", "net.")

# one key that each layout has and no other
_SIGNATURES = {
    "wan": "head.modulation",
    "wan_diffusers": "condition_embedder.time_proj.weight",
    "wan_vae": "decoder.middle.0.residual.0.gamma",
    "wan_vae_diffusers": "decoder.mid_block.resnets.0.norm1.gamma",
    "t5": "token_embedding.weight",
    "t5_hf": "shared.weight",
    "lean_vae": "latent_bottleneck.phi",
    "taehv": "encoder.4.conv.0.weight",
}
NAMES = {
    "wan": "a Wan transformer in the original layout",
    "wan_diffusers": "a Wan transformer in the diffusers layout",
    "wan_vae": "a Wan VAE in the original layout",
    "wan_vae_diffusers": "a Wan VAE in the diffusers layout",
    "t5": "a UMT5 encoder in Wan's layout",
    "t5_hf": "a UMT5 encoder in the transformers layout",
    "lean_vae": "a LeanVAE",
    "taehv": "a TAEHV tiny autoencoder",
}


def unwrap(payload: Any, source: str, which: str = "generator", ema: bool = True) -> State:
    """The one flat state dict inside what a checkpoint file holds, with wrapper prefixes stripped.

    Understands bare state dicts, {"state_dict": ...} (Lightning; of `autoencoder.*` and loss
    networks only the autoencoder), and {"generator", "critic", "generator_ema"} (Self-Forcing,
    CausVid, InstantViR; the released Self-Forcing file has `generator_ema` alone).

    Args:
        which: "generator" or "critic", for files that have both.
        ema: prefer the averaged weights where the file has them.

    Raises:
        UserError: nothing in the file is a state dict, it lacks `which`, or two keys become one
            when stripped.
    """
    if not isinstance(payload, Mapping):
        raise UserError(
            f"{source} holds a {type(payload).__name__} instead of a state dict; give another file"
        )
    if which not in ("generator", "critic"):
        raise UserError(f'which={which!r} is neither "generator" nor "critic"; choose one of them')
    nested = {key: value for key, value in payload.items() if isinstance(value, Mapping)}
    tensors = {key: value for key, value in payload.items() if isinstance(value, Tensor)}
    if tensors and not nested:
        odd = sorted(set(payload) - set(tensors), key=str)
        if odd:
            raise UserError(
                f"{source} holds entries that are not tensors ({_some(odd)}); give a plain state "
                "dict"
            )
        return _strip(_only_autoencoder(tensors, source), source)
    # older trainers call the student "model"
    averaged = [f"{which}_ema", f"{which}_ema_state_dict"]
    raw = [which, "state_dict", "model"] if which == "generator" else [which]
    order = averaged + raw if ema else raw + averaged
    for name in order:
        if name in nested:
            return unwrap(nested[name], f"{source}[{name}]", ema=ema)
    raise UserError(
        f"{source} has no {which} but {_some(sorted(payload, key=str))}; give another file or "
        "`which`"
    )


def layout(state: Mapping[str, Tensor]) -> str | None:
    """The layout (a key of `NAMES`) that the keys belong to, or None if to none we know."""
    return next((name for name, key in _SIGNATURES.items() if key in state), None)


def expect(state: Mapping[str, Tensor], wanted: tuple[str, ...], source: str) -> str:
    """The layout of `state` if it is one of `wanted`.

    Raises:
        UserError: it is another one; the message says which.
    """
    found = layout(state)
    if found in wanted:
        assert found is not None
        return found
    what = (
        NAMES[found]
        if found
        else f"{len(state)} tensors of no layout we know (such as {_some(sorted(state))})"
    )
    needed = " or ".join(NAMES[name] for name in wanted)
    raise UserError(f"{source} holds {what}; give {needed}")


def transformer_to_diffusers(state: State) -> State:
    """Wan's original transformer keys as diffusers' `WanTransformer3DModel` names them."""
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    # the converter empties the dict that it is given
    return convert_wan_transformer_to_diffusers(dict(state))


def vae_to_diffusers(state: State) -> State:
    """Wan's original VAE keys as diffusers' `AutoencoderKLWan` names them."""
    from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

    return convert_wan_vae_to_diffusers(dict(state))


_T5_BLOCK = {
    "norm1.weight": "layer.0.layer_norm.weight",
    "attn.q.weight": "layer.0.SelfAttention.q.weight",
    "attn.k.weight": "layer.0.SelfAttention.k.weight",
    "attn.v.weight": "layer.0.SelfAttention.v.weight",
    "attn.o.weight": "layer.0.SelfAttention.o.weight",
    "pos_embedding.embedding.weight": "layer.0.SelfAttention.relative_attention_bias.weight",
    "norm2.weight": "layer.1.layer_norm.weight",
    "ffn.gate.0.weight": "layer.1.DenseReluDense.wi_0.weight",
    "ffn.fc1.weight": "layer.1.DenseReluDense.wi_1.weight",
    "ffn.fc2.weight": "layer.1.DenseReluDense.wo.weight",
}
_T5_TOP = {
    "token_embedding.weight": "shared.weight",
    "norm.weight": "encoder.final_layer_norm.weight",
}


def t5_to_hf(state: State) -> State:
    """Wan's UMT5 keys as transformers' `UMT5EncoderModel` names them; unknown ones unchanged."""

    def renamed(key: str) -> str:
        head, _, rest = key.partition(".")
        number, _, rest = rest.partition(".")
        if head == "blocks" and rest in _T5_BLOCK:
            return f"encoder.block.{number}.{_T5_BLOCK[rest]}"
        return _T5_TOP.get(key, key)

    return {renamed(key): tensor for key, tensor in state.items()}


def tie_t5(state: State) -> State:
    """`state` with the token embedding under both of its names; files may have one of them."""
    shared = state.get("shared.weight", state.get("encoder.embed_tokens.weight"))
    if shared is None:
        return state
    return {**state, "shared.weight": shared, "encoder.embed_tokens.weight": shared}


def _only_autoencoder(state: State, source: str) -> State:
    # LeanVAE's Lightning checkpoints also carry the networks of its training losses
    prefix = "autoencoder."
    kept = {
        key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)
    }
    if not kept:
        return state
    groups = sorted({key.split(".")[0] for key in state if not key.startswith(prefix)})
    if groups:
        log.info("%s: left out the training networks %s", source, ", ".join(groups))
    return kept


def _strip(state: State, source: str) -> State:
    names = {key: key for key in state}
    for key in names:
        for inserted in _INSERTED:
            names[key] = names[key].replace(inserted, "")
    while prefix := next(
        (p for p in _LEADING if all(name.startswith(p) for name in names.values())), None
    ):
        names = {key: name.removeprefix(prefix) for key, name in names.items()}
        if not names:
            break
    if len(set(names.values())) != len(names):
        raise UserError(
            f"{source} has keys that differ in wrapper prefixes only; give a file of one model"
        )
    return {names[key]: tensor for key, tensor in state.items()}


def _some(names: list) -> str:
    shown = ", ".join(str(name) for name in names[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")
