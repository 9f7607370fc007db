"""The latent image prior's files, in diffusers' layout of SDXL: unet/, vae/, and the null prompt's embedding."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from lvis.backbone.image_prior import Embedding, ImagePrior, pooled_width, token_width
from lvis.errors import UserError
from lvis.files import write_text
from lvis.weights import safe
from lvis.weights.check import fill
from lvis.weights.load import cast, parameters_on_meta, to_dtype
from lvis.weights.resolve import Found, Kind, resolve
from lvis.weights.sdxl_text import TEXT, embed_prompt

WEIGHTS = "diffusion_pytorch_model.safetensors"
NULL = "null_embedding.safetensors"


def _kind(name: str, folder: str) -> Kind:
    names = (WEIGHTS, f"{WEIGHTS}.index.json", "diffusion_pytorch_model.fp16.safetensors")
    return Kind(name, folder, names, (f"{folder}/config.json", f"{folder}/{WEIGHTS}"))


UNET, VAE = _kind("image UNet", "unet"), _kind("image VAE", "vae")
NULL_EMBEDDING = Kind("null prompt", "null_embedding", (NULL,), (NULL,))

# attention's parameters in VAEs saved before diffusers 0.15
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


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
    """Write the empty prompt's embedding to `folder`, so that no text encoder is needed.

    Raises:
        UserError: the folder cannot be written.
    """
    tensors = {"tokens": null.tokens.contiguous(), "pooled": null.pooled.contiguous()}
    safe.write_tensors(Path(folder) / NULL, tensors, {"format": "pt"})


def load_image_prior(
    source: str,
    vae: str | None = None,
    null_embedding: str | None = None,
    *,
    batch_size: int = 1,
    dtype: str | torch.dtype = "float32",
    vae_dtype: str | torch.dtype = "float32",
) -> ImagePrior:
    """SDXL, or another UNet and VAE of its classes, from a folder or the hub.

    Args:
        source: bundled:, hub: or a folder with unet/ and vae/, each with its config.json.
        vae: another source of the VAE; SDXL's own overflows in float16.
        null_embedding: another source of null_embedding.safetensors. Where neither has it, the
            text encoders in `source` encode the empty prompt.
        batch_size: images in a network at once.

    Raises:
        UserError: parts missing, all named in one sentence; weights that do not fit their config;
            a model that does not predict the noise.
    """
    found = _find({UNET: source, VAE: vae or source})
    embedding = _null(source, null_embedding)
    _check_prediction(found[UNET])
    unet = _built(UNet2DConditionModel, found[UNET], to_dtype(dtype))
    network = _built(AutoencoderKL, found[VAE], to_dtype(vae_dtype))
    widths = (token_width(unet), pooled_width(unet))
    given = (embedding.tokens.shape[-1], embedding.pooled.shape[-1])
    if widths != given:
        raise UserError(
            f"the null prompt's embedding is {given[0]} and {given[1]} wide where the UNet in "
            f"{source} takes {widths[0]} and {widths[1]}; give its own as solver.null_embedding"
        )
    return ImagePrior(unet, network, embedding, batch_size).eval()


def _find(wanted: dict[Kind, str]) -> dict[Kind, Found]:
    found, missing = {}, []
    for kind, source in wanted.items():
        try:
            found[kind] = _part(source, kind)
        except UserError as error:
            missing.append((kind, source, error))
    if missing:
        listed = " and ".join(f"{kind.name} ({kind.subfolder}/{WEIGHTS})" for kind, _, _ in missing)
        raise UserError(
            f"the image prior lacks its {listed}: {missing[0][2]} (solver.weights=FOLDER in "
            "diffusers' layout of SDXL, with text_encoder/ and text_encoder_2/ or "
            f"{NULL})"
        ) from missing[0][2]
    return found


def _part(source: str, kind: Kind) -> Found:
    """Like `resolve`, which also takes a folder's only weight file under another name: here a folder
    holds several models, and that file is another one's."""
    found = resolve(source, kind)
    if found.weights.name not in kind.names and found.weights.name != Path(source).name:
        raise UserError(
            f"there are no {kind.name} weights in {source}; it needs {kind.subfolder}/{kind.names[0]}"
        )
    return found


def _null(source: str, elsewhere: str | None) -> Embedding:
    try:
        tensors = _part(elsewhere or source, NULL_EMBEDDING).state()
    except UserError as error:
        if elsewhere is not None:
            raise
        try:
            return embed_prompt(_part(source, TEXT).root, "")
        except UserError as other:
            raise UserError(
                f"the image prior lacks its null prompt: {source} has neither {NULL} nor both "
                f"text encoders ({other}); give the first as solver.null_embedding=FILE"
            ) from error
    if set(tensors) != {"tokens", "pooled"}:
        raise UserError(
            f"{elsewhere or source} is not a null prompt's embedding, which has the tensors tokens and "
            "pooled; write it with lvis.weights.image_prior.save_null_embedding"
        )
    return Embedding(tensors["tokens"].float(), tensors["pooled"].float())


def _check_prediction(found: Found) -> None:
    """SDXL's derivatives that predict v or x0 share its files and would be silently wrong."""
    path = found.root / "scheduler" / "scheduler_config.json"
    kind = safe.read_json(path).get("prediction_type", "epsilon") if path.is_file() else "epsilon"
    if kind != "epsilon":
        raise UserError(
            f"the UNet in {found.source} predicts {kind}; give one that predicts the noise "
            "(epsilon), as SDXL base does"
        )


def _built(kind: Any, found: Found, dtype: torch.dtype) -> Any:
    if found.config is None:
        raise UserError(f"{found.source} has no {found.weights.parent.name}/config.json; add it")
    config = safe.read_json(found.config)
    if config.get("_class_name", kind.__name__) != kind.__name__:
        raise UserError(
            f"{found.config} is a {config['_class_name']}'s, not a {kind.__name__}'s; give SDXL's"
        )
    with parameters_on_meta():
        network = kind.from_config(config)
    state = {_renamed(key): value for key, value in found.state().items()}
    fill(network, cast(state, dtype), found.source)
    return network


def _renamed(key: str) -> str:
    def current(match: re.Match[str]) -> str:
        return f"{match[1]}.{_OLD_ATTENTION[match[2]]}.{match[3]}"

    old = "|".join(_OLD_ATTENTION)
    return re.sub(rf"^(.*mid_block\.attentions\.0)\.({old})\.(weight|bias)$", current, key)
