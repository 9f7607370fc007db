"""The pixel-space image prior's files, in diffusers' layout."""

import json
from pathlib import Path

import torch

from lvis.backbone.pixel_prior import PixelPrior
from lvis.errors import UserError
from lvis.files import write_text
from lvis.weights import safe
from lvis.weights.resolve import Kind, resolve

WEIGHTS = "diffusion_pytorch_model.safetensors"
KIND = Kind("pixel prior", "unet", (WEIGHTS,), ("config.json", WEIGHTS))


def save_pixel_prior(
    prior: PixelPrior, folder: str | Path, dtype: torch.dtype = torch.float16
) -> None:
    """Write config.json and the weights to `folder` in diffusers' layout.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = Path(folder)
    state = {key: value.to(dtype).contiguous() for key, value in prior.net.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    safe.write_tensors(folder / WEIGHTS, state, {"format": "pt"})
    write_text(
        folder / "config.json", json.dumps(json.loads(prior.net.to_json_string()), indent=2) + "\n"
    )


def load_pixel_prior(source: str) -> PixelPrior:
    """The prior that `save_pixel_prior` wrote, in float32.

    Raises:
        UserError: no such weights, or keys or shapes that differ from the architecture's.
    """
    found_files = resolve(source, KIND)
    if found_files.config is None:
        raise UserError(f"{source} has no config.json; export the prior with lvis.pretrain")
    config = safe.read_json(found_files.config)
    prior = PixelPrior.from_config({k: v for k, v in config.items() if not k.startswith("_")})
    state = found_files.state()
    wanted = {key: tuple(value.shape) for key, value in prior.net.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    if differing := sorted(set(wanted.items()) ^ set(found.items())):
        raise UserError(
            f"{source} does not fit its config.json: {differing[0][0]} and "
            f"{len(differing) - 1} more differ; export the prior again"
        )
    prior.net.load_state_dict({key: value.float() for key, value in state.items()})
    return prior.eval()
