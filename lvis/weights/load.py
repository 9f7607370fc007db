"""From a source to a module: found, read safely, converted, every key accounted for
(docs/architecture.md, "Weights").

Every loader also takes `weights="random"`, for benchmarks that need the sizes and not the
knowledge: seeded, from `config` or the configuration that the source carries.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from lvis.backbone import WanTransformer
from lvis.errors import UserError
from lvis.vae.base import VideoVAE
from lvis.vae.lean import LeanVAE
from lvis.vae.tae import TAE
from lvis.vae.wan import WanVAE
from lvis.weights import architecture, keys, packed, safe
from lvis.weights.check import fill
from lvis.weights.resolve import LEAN_VAE, TRANSFORMER, WAN_VAE, Found, resolve
from lvis.weights.resolve import TAE as TAE_KIND

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# as config.json says them: diffusers, Wan, Self-Forcing; without a class, a transformer's
TRANSFORMER_CLASSES = ("WanTransformer3DModel", "WanModel", "CausalWanModel", None)
VAE_CLASS = "AutoencoderKLWan"
LEAN_CLASS = "LeanVAE"

Module = TypeVar("Module", bound=nn.Module)


def load_transformer(
    source: str,
    config: Mapping[str, Any] | None = None,
    *,
    text_len: int | None = None,
    dtype: str | torch.dtype = "float32",
    which: str = "generator",
    ema: bool = True,
    weights: str = "checkpoint",
    seed: int = 0,
) -> WanTransformer:
    """A Wan transformer from its original or diffusers layout, a training checkpoint, or a packed
    student.

    Args:
        source: see resolve.py.
        config: sizes in diffusers' or Wan's names, used where the source has no config.json; read
            off the tensors if neither is there.
        text_len: tokens of a padded prompt; what the source says if not given, else 512.
        dtype: of the parameters.
        which: "generator" or "critic", for files with both.
        ema: prefer averaged weights where the file has them.
        weights: "checkpoint" or "random".

    Raises:
        UserError: nothing there, not a transformer, unsafe or damaged, or tensors missing, extra or
            mis-shaped.
    """
    return _transformer(source, config, text_len, dtype, which, ema, weights, seed)[0]


def load_student(
    source: str, config: Mapping[str, Any] | None = None, **options: Any
) -> tuple[WanTransformer, dict[str, Any]]:
    """A student and what its lvis.json says of it (task, VAE, timestep, ...; empty for other
    people's files).

    Options and errors are those of `load_transformer`.
    """
    defaults: dict[str, Any] = {
        "text_len": None,
        "dtype": "float32",
        "which": "generator",
        "ema": True,
        "weights": "checkpoint",
        "seed": 0,
    }
    return _transformer(source, config, **{**defaults, **options})


def load_wan_vae(
    source: str,
    config: Mapping[str, Any] | None = None,
    *,
    encode_dtype: str | torch.dtype = "float32",
    decode_dtype: str | torch.dtype = "float32",
    weights: str = "checkpoint",
    seed: int = 0,
) -> WanVAE:
    """A Wan VAE, 2.1 from its original (`Wan2.1_VAE.pth`) or diffusers layout, 2.2 from the latter.

    Args:
        config: diffusers' config, used where the source has no config.json; Wan 2.1's if neither is
            there.

    Raises:
        UserError: see `load_transformer`.
    """
    dtypes: dict[str, Any] = {
        "encode_dtype": to_dtype(encode_dtype),
        "decode_dtype": to_dtype(decode_dtype),
    }
    if is_random(weights):
        chosen = (
            plain(config) if config is not None else _carried(resolve(source, WAN_VAE), VAE_CLASS)
        )
        return seeded(lambda: _wan_vae(chosen, source, dtypes), seed).eval()
    found = resolve(source, WAN_VAE)
    state = found.state()
    if keys.expect(state, ("wan_vae", "wan_vae_diffusers"), source) == "wan_vae":
        state = keys.vae_to_diffusers(state)
    with parameters_on_meta():
        vae = _wan_vae(_carried(found, VAE_CLASS) or plain(config), source, dtypes)
    fill(vae.net, cast(state, torch.float32), source)
    return vae.eval()


def load_lean_vae(
    source: str,
    variant: str = "stock",
    config: Mapping[str, Any] | None = None,
    *,
    encode_dtype: str | torch.dtype = "float32",
    decode_dtype: str | torch.dtype = "float32",
    weights: str = "checkpoint",
    seed: int = 0,
) -> LeanVAE:
    """A LeanVAE from a bare or Lightning checkpoint; its sizes are read off the tensors.

    Args:
        variant: "stock" or "wan2.1", where the source has no config.json to say so.
        config: `LeanVAE`'s arguments for random weights.

    Raises:
        UserError: see `load_transformer`.
    """
    dtypes: dict[str, Any] = {
        "encode_dtype": to_dtype(encode_dtype),
        "decode_dtype": to_dtype(decode_dtype),
    }
    if is_random(weights):
        chosen = (
            plain(config)
            if config is not None
            else _carried(resolve(source, LEAN_VAE), LEAN_CLASS) or {}
        )
        return seeded(
            lambda: LeanVAE(**{"variant": variant, **_public(chosen)}, **dtypes), seed
        ).eval()
    found = resolve(source, LEAN_VAE)
    state = found.state()
    keys.expect(state, ("lean_vae",), source)
    sizes = LeanVAE.infer_config(state)
    said = {"variant": variant, **_public(_carried(found, LEAN_CLASS) or {})}
    with parameters_on_meta():
        vae = LeanVAE(**{**said, **sizes}, **dtypes)
    fill(vae, cast(state, torch.float32), source)
    return vae.eval()


def load_tae(
    source: str | None,
    encoder: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    *,
    encode_dtype: str | torch.dtype = "float32",
    decode_dtype: str | torch.dtype = "float32",
    weights: str = "checkpoint",
    seed: int = 0,
) -> TAE:
    """A tiny autoencoder from TAEHV's layout (`taew2_1.pth`); its sizes are read off the tensors.

    The shapes do not tell whose latents it was made for: those of HunyuanVideo's are the same.

    Args:
        encoder: configuration of the VAE that encodes beside it, without whose decoder it is loaded; None is
            its own encoder.
        config: `TAE`'s arguments for random weights.

    Raises:
        UserError: see `load_transformer`.
    """
    from hydra.utils import instantiate

    dtypes: dict[str, Any] = {
        "encode_dtype": to_dtype(encode_dtype),
        "decode_dtype": to_dtype(decode_dtype),
    }
    other: VideoVAE | None = None
    if is_random(weights):
        vae = seeded(lambda: TAE(**plain(config), **dtypes), seed)
        if encoder is not None:
            other = instantiate({**plain(encoder), "weights": "random"})
    else:
        state = resolve(source, TAE_KIND).state()
        keys.expect(state, ("taehv",), str(source))
        with parameters_on_meta():
            vae = TAE(**TAE.infer_config(state), **dtypes)
        fill(vae, cast(state, torch.float32), str(source))
        other = None if encoder is None else instantiate(encoder)
    if other is not None:
        if isinstance(other, WanVAE):
            other.drop_decoder()
        vae.encode_with(other)
    return vae.eval()


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Modules built inside have parameters without storage and real buffers, so that a checkpoint's
    tensors can take the parameters' place without a second copy in memory."""

    def to_meta(_module: nn.Module, _name: str, parameter: nn.Parameter) -> nn.Parameter:
        return nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)

    # annotated as returning None, documented as replacing the parameter by what it returns
    handle = register_module_parameter_registration_hook(to_meta)  # type: ignore[arg-type]
    try:
        yield
    finally:
        handle.remove()


def to_dtype(name: str | torch.dtype) -> torch.dtype:
    """The torch dtype called "float32", "bfloat16" or "float16".

    Raises:
        UserError: another name.
    """
    if isinstance(name, torch.dtype):
        return name
    if name not in DTYPES:
        raise UserError(f"dtype {name!r} is not one of {', '.join(DTYPES)}; choose one of them")
    return DTYPES[name]


def is_random(weights: str) -> bool:
    """Whether `weights` asks for random ones.

    Raises:
        UserError: it is neither "checkpoint" nor "random".
    """
    if weights not in ("checkpoint", "random"):
        raise UserError(
            f'weights={weights!r} is neither "checkpoint" nor "random"; choose one of them'
        )
    return weights == "random"


def _transformer(
    source: str,
    config: Mapping[str, Any] | None,
    text_len: int | None,
    dtype: str | torch.dtype,
    which: str,
    ema: bool,
    weights: str,
    seed: int,
) -> tuple[WanTransformer, dict[str, Any]]:
    dtype = to_dtype(dtype)
    if is_random(weights):
        said = (
            plain(config)
            if config is not None
            else _carried(_base(resolve(source, TRANSFORMER)), *TRANSFORMER_CLASSES) or {}
        )
        sizes = architecture.from_config(said, source)
        sizes |= {"text_len": text_len} if text_len else {}
        return seeded(lambda: WanTransformer(**sizes), seed, dtype).eval(), {}
    found = resolve(source, TRANSFORMER)
    extra = safe.read_json(found.extra) if found.extra else {}
    base = _base(found)
    state = packed.unpack(found.weights) if base is not found else found.state(which, ema)
    if keys.expect(state, ("wan", "wan_diffusers"), source) == "wan":
        state = keys.transformer_to_diffusers(state)
    said = _carried(base, *TRANSFORMER_CLASSES) or plain(config)
    sizes = (
        architecture.from_config(said, source) if said else architecture.from_state(state, source)
    )
    said_len = extra.pop("text_len", None)
    text_len = text_len or said_len
    sizes |= {"text_len": text_len} if text_len else {}
    with parameters_on_meta():
        transformer = WanTransformer(**sizes)
    fill(transformer.net, cast(state, dtype), source)
    return transformer.eval(), extra


def _base(found: Found) -> Found:
    """Of a packed student, the model it is a difference from; of anything else, itself."""
    if found.weights.suffix != ".safetensors":
        return found
    metadata = safe.read_metadata(found.weights)
    if metadata.get("format") != packed.FORMAT:
        return found
    return resolve(packed.base_source(metadata, found.weights), TRANSFORMER)


def _carried(found: Found, *classes: str | None) -> dict[str, Any] | None:
    """The config.json beside the weights, if it is for one of these classes: Wan's own folder holds
    three models and the transformer's configuration."""
    config = safe.read_json(found.config) if found.config else {}
    return config if config and config.get("_class_name") in classes else None


def _wan_vae(config: Mapping[str, Any] | None, source: str, dtypes: dict[str, Any]) -> WanVAE:
    try:
        return WanVAE.from_config(config or {}, **dtypes)
    except TypeError as error:
        raise UserError(
            f"the configuration of {source} is not a Wan VAE's ({error}); give another config"
        ) from error


def plain(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """A plain dict of a configuration that may be Hydra's, or none."""
    from omegaconf import DictConfig, OmegaConf

    if isinstance(config, DictConfig):
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    return dict(config or {})


def _public(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if not key.startswith("_")}


def cast(state: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """`state` with its tensors in `dtype`, changed in place."""
    # one tensor at a time, so that the two formats never lie in memory together
    for key in list(state):
        state[key] = state[key].to(dtype)
    return state


def seeded(build: Callable[[], Module], seed: int, dtype: torch.dtype = torch.float32) -> Module:
    """What `build` makes from `seed`, its parameters drawn in `dtype`, so that no float32 copy is
    ever in memory; the caller's random generator is left alone."""
    usual = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_default_dtype(dtype)
        try:
            return build()
        finally:
            torch.set_default_dtype(usual)
