"""Latents on disk instead of encoding: what `lvis.prepare` wrote, or z_in of the clips that have come before.

With a fixed operator and no noise, z_in = E'(what y shows) is a function of the clip. For 81 frames of 480 x 832 it
takes 8.4 MB.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lvis.cli.config import plain
from lvis.data.shard_latents import ShardLatents, facts_of
from lvis.data.shard_module import ShardDataModule
from lvis.errors import UserError
from lvis.files import write_text
from lvis.operators import LinearOperator
from lvis.vae import VideoVAE
from lvis.weights.packed import digest
from lvis.weights.safe import write_tensors

log = logging.getLogger(__name__)

LATENTS = "latents"
# what z_in depends on beside the clip
KEYS = ("x_init", "size", "frames", "encode_dtype")


class LatentCache:
    """Latents by the number of a clip, in a folder of their own for each way of making them.

    Args:
        folder: of the cache; runs with other settings may share it.
        facts: everything that z_in depends on beside the clip's number; written to `facts.json`.

    Attributes:
        read, made: clips so far.
    """

    def __init__(self, folder: str | Path, facts: dict[str, Any]) -> None:
        text = json.dumps(facts, indent=1, sort_keys=True)
        self.folder = Path(folder).expanduser() / hashlib.sha256(text.encode()).hexdigest()[:16]
        self.read = self.made = 0
        write_text(self.folder / "facts.json", text + "\n")

    def latents(self, clips: Sequence[int], encode: Callable[[], Tensor]) -> Tensor:
        """z_in (B, 16, t, h, w) of clips, on the CPU where all were read.

        Args:
            encode: makes them; called unless every one is there.

        Raises:
            UserError: the folder cannot be written.
        """
        found = [self._read(clip) for clip in clips]
        there = [latents for latents in found if latents is not None]
        if len(there) == len(found):
            self.read += len(there)
            return torch.stack(there)
        made = encode()
        for clip, latents in zip(clips, made, strict=True):
            content = {LATENTS: latents.detach().float().cpu().contiguous()}
            write_tensors(self.path(clip), content, {"format": "pt"})
        self.made += len(made)
        return made

    def path(self, clip: int) -> Path:
        """The file of a clip; a thousand to a folder."""
        return self.folder / f"{clip // 1000:06d}" / f"{clip:09d}.safetensors"

    def _read(self, clip: int) -> Tensor | None:
        path = self.path(clip)
        if not path.exists():
            return None
        try:
            return load_file(path)[LATENTS]
        except (SafetensorError, KeyError, OSError) as error:
            log.warning("%s is damaged (%s); encoding its clip again", path, error)
            return None


def latent_cache(cfg: DictConfig, clips: str) -> LatentCache | None:
    """The cache of `distill.latent_cache`, or none.

    Args:
        clips: which clip has which number (`ResumableDataModule.identity`).

    Raises:
        UserError: the clips do not come again, or z_in is another each time.
    """
    folder = cfg.distill.latent_cache
    if folder is None:
        return None
    if not clips.startswith("shards"):
        raise UserError("distill.latent_cache is for clips that come again: use data=shards")
    if cfg.task.operator.get("noise_std", 0):
        raise UserError(
            f"distill.latent_cache keeps one z_in for each clip, and task.operator.noise_std="
            f"{cfg.task.operator.noise_std} draws another each time: set it to 0, or the cache to null"
        )
    distill = plain(cfg.distill)
    if distill["x_init"] == "estimate":
        raise UserError(
            "distill.latent_cache keeps z_in, and with distill.x_init=estimate more than that is needed: use lift or "
            "latents, or set the cache to null"
        )
    facts = {key: distill[key] for key in KEYS}
    facts |= {"clips": clips, "operator": plain(cfg.task.operator), "vae": plain(cfg.vae.module)}
    return LatentCache(folder, facts)


def prepared_latents(
    cfg: DictConfig, data: ShardDataModule, vae: VideoVAE
) -> tuple[ShardLatents, bool]:
    """What `data.latents=true` reads.

    Args:
        vae: the student's.

    Returns:
        The latents, and whether they are of the clips, for an operator on latents, or z_in of their measurements.

    Raises:
        UserError: there are none of this VAE, size and operator, or z_in is no function of the clip.
    """
    operator = plain(cfg.task.operator)
    of_clips = operator.get("space") == "latent"
    if not of_clips:
        if cfg.distill.x_init != "lift":
            raise UserError(
                f"data.latents=true reads z of the lifted measurement, and distill.x_init={cfg.distill.x_init} encodes "
                "something else: use lift, or data.latents=false"
            )
        if cfg.distill.latent_cache is not None:
            raise UserError(
                "data.latents=true and distill.latent_cache both give z_in: set one of them to "
                "false or null"
            )
        if data.shape.frames != data.shape.stored:
            raise UserError(
                f"data.frames={data.shape.frames} is fewer than the {data.shape.stored} frames whose measurements "
                "were encoded: train on all of them, or set data.latents=false"
            )
    elif cfg.distill.supervision:
        raise UserError(
            "distill.supervision needs the clips themselves: set it to 0, or data.latents=false"
        )
    facts = facts_of(
        digest(vae.state_dict()),
        data.shape.size,
        data.shape.stored,
        None if of_clips else operator,
    )
    frames = vae.latent_frames(data.shape.frames)
    return ShardLatents(data.folder, data.index, facts, frames), of_clips


def check_fixed(operator: LinearOperator, realised: LinearOperator) -> None:
    """Whether an operator is the same for every clip.

    Raises:
        UserError: it draws anew for each.
    """
    if realised is not operator or operator.space == "latent":
        raise UserError(
            f"distill.latent_cache and data.latents have one z_in for each clip, and {type(operator).__name__} is "
            "drawn anew for each or acts on latents: set them to null and false"
        )
