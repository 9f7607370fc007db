"""From a source string to the files that hold a model: package data, hub, folder or file.

bundled:tiny/teacher                        in this package
hub:org/name[@revision][:file or folder]    on the Hugging Face hub (see hub.py)
FOLDER                                      a model's folder, or a pipeline's with subfolders
FILE                                        .safetensors, .pt, .pth, .ckpt, .bin
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lvis.errors import UserError
from lvis.weights import hub, keys, safe

BUNDLED = Path(__file__).with_name("bundled")
DELTA = "delta.safetensors"

_HUB = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?(?::(?P<path>.+))?")


@dataclass(frozen=True)
class Kind:
    """Where a model lies in a folder: its subfolder in a pipeline, file names, the best first."""

    name: str
    subfolder: str
    names: tuple[str, ...]
    hub_patterns: tuple[str, ...]


_DIFFUSERS = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
)

TRANSFORMER = Kind(
    "transformer",
    "transformer",
    (*_DIFFUSERS, DELTA),
    ("transformer/config.json", "transformer/diffusion_pytorch_model*.safetensors*", "config.json")
    + ("diffusion_pytorch_model*.safetensors*", "lvis.json", "model.pt"),
)
# the original Wan folder has the transformer as diffusion_pytorch_model.safetensors, so the VAE's
# own name goes first
WAN_VAE = Kind(
    "Wan VAE",
    "vae",
    ("Wan2.1_VAE.pth", *_DIFFUSERS),
    ("vae/config.json", "vae/diffusion_pytorch_model*.safetensors*", "Wan2.1_VAE.pth"),
)
LEAN_VAE = Kind(
    "LeanVAE",
    "lean_vae",
    ("LeanVAE-dim16.ckpt", *_DIFFUSERS),
    ("LeanVAE-dim16.ckpt", "config.json", "diffusion_pytorch_model*.safetensors*"),
)
TAE = Kind("tiny autoencoder", "tae", ("taew2_1.pth", *_DIFFUSERS), ("taew2_1.pth",))
TEXT_ENCODER = Kind(
    "text encoder",
    "text_encoder",
    ("models_t5_umt5-xxl-enc-bf16.pth", "model.safetensors", "model.safetensors.index.json"),
    ("text_encoder/config.json", "text_encoder/model*.safetensors*", "tokenizer/*")
    + ("models_t5_umt5-xxl-enc-bf16.pth", "google/umt5-xxl/*"),
)


@dataclass(frozen=True)
class Found:
    """The files of one model: weights (a file or a shard index), config.json and lvis.json."""

    source: str
    root: Path
    weights: Path
    config: Path | None
    extra: Path | None

    def read(self) -> tuple[Any, dict[str, str]]:
        """What the weight file holds, and its safetensors metadata.

        Raises:
            UserError: see `safe.read_file` and `safe.read_shards`.
        """
        if self.weights.name.endswith(".index.json"):
            return safe.read_shards(self.weights), {}
        return safe.read_file(self.weights)

    def state(self, which: str = "generator", ema: bool = True) -> dict[str, Tensor]:
        """The flat state dict inside (see `keys.unwrap`)."""
        return keys.unwrap(self.read()[0], self.source, which, ema)


def resolve(source: str | None, kind: Kind) -> Found:
    """The files of the `kind` of model that `source` names.

    Raises:
        UserError: the source is malformed, or nothing is there; the sentence says how to get it.
    """
    if source is None:
        raise UserError(
            f"no {kind.name} weights are named: give a file that holds them as its source"
        )
    source = str(source)
    if source.startswith("bundled:"):
        path = _bundled(source)
    elif source.startswith("hub:"):
        path = _from_hub(source, kind)
    else:
        path = Path(source).expanduser()
        if not path.exists():
            raise UserError(
                f"there are no {kind.name} weights at {source}; check the path or give another "
                "source"
            )
    return _found(source, path, kind)


def _bundled(source: str) -> Path:
    name = source.removeprefix("bundled:")
    path = BUNDLED / name
    if ".." in Path(name).parts or not path.resolve().is_relative_to(BUNDLED) or not path.exists():
        known = sorted(
            f"bundled:{folder.relative_to(BUNDLED).as_posix()}"
            for folder in {file.parent for file in BUNDLED.rglob("*.safetensors")}
        )
        raise UserError(
            f"this package has no weights {source}; it has {', '.join(known) or 'none'}"
        )
    return path


def _from_hub(source: str, kind: Kind) -> Path:
    match = _HUB.fullmatch(source)
    if not match or ".." in (match["path"] or ""):
        raise UserError(
            f"{source!r} is not a hub source; write hub:org/name[@revision][:file or folder]"
        )
    inside = match["path"]
    if inside is None:
        return hub.fetch(match["repo"], match["revision"], list(kind.hub_patterns))
    folder = hub.fetch(match["repo"], match["revision"], [inside, f"{inside}/*"])
    if not (folder / inside).exists():
        raise UserError(
            f"hub:{match['repo']} has no {inside}; look at its file list and correct the source"
        )
    return folder / inside


def _found(source: str, path: Path, kind: Kind) -> Found:
    if path.is_file():
        return Found(source, path.parent, path, None, None)
    for folder in (path / kind.subfolder, path):
        weights = next((folder / name for name in kind.names if (folder / name).is_file()), None)
        if weights:
            return _with_records(source, path, weights)
    others = sorted(file for file in path.iterdir() if file.suffix in safe.SUFFIXES)
    if len(others) == 1:
        return _with_records(source, path, others[0])
    if others:
        listed = ", ".join(file.name for file in others[:6])
        raise UserError(
            f"{source} has several weight files ({listed}); name the {kind.name}'s file in the "
            "source"
        )
    raise UserError(
        f"there are no {kind.name} weights in {source}; it needs {' or '.join(kind.names)}, "
        f"there or in a subfolder {kind.subfolder}"
    )


def _with_records(source: str, root: Path, weights: Path) -> Found:
    config, extra = weights.with_name("config.json"), weights.with_name("lvis.json")
    return Found(
        source,
        root,
        weights,
        config if config.is_file() else None,
        extra if extra.is_file() else None,
    )
