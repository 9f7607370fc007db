"""z of the clips in finished shards, or of their measurements by a fixed operator, beside the shards."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

from lvis.cli.build import build
from lvis.cli.config import plain
from lvis.data.shard_decode import DecodeError, decode_video
from lvis.data.shard_format import TRAIN, VIDEO_EXTENSIONS, Shard
from lvis.data.shard_latents import facts_of, is_made, open_latents, write_latents
from lvis.data.shard_module import to_floats
from lvis.data.shard_reader import BadData, ShardReader
from lvis.errors import UserError
from lvis.hardware import pick_device
from lvis.operators import LinearOperator
from lvis.prepare.jobs import AHEAD, Meter
from lvis.prepare.settings import Settings
from lvis.vae import Bridge, VideoVAE
from lvis.weights import require
from lvis.weights.packed import digest


def encode_shards(shards: Sequence[Shard], cfg: DictConfig, settings: Settings) -> float | None:
    """Write the latents of the clips to train on; of those that are there already, nothing is done.

    Returns:
        Clips per second, or None where there was nothing to do.

    Raises:
        UserError: the VAE's weights are missing, the operator is not fixed, or a shard is damaged.
    """
    require({"vae.module": cfg.vae.module})
    vae: VideoVAE = build(cfg.vae.module).eval().requires_grad_(False)
    device = pick_device(str(cfg.device))
    operator = None if cfg.get("task") is None else fixed_operator(cfg, settings)
    described = None if operator is None else plain(cfg.task.operator)
    facts = facts_of(digest(vae.state_dict()), settings.size, settings.frames, described)
    folder = Path(settings.output)
    precision = str(cfg.vae.module.get("encode_dtype"))
    place = open_latents(folder, facts, precision)
    to_do = [s for s in shards if s.split == TRAIN and not is_made(place, s)]
    if not to_do:
        return None
    vae = vae.to(device)
    # block by block: the memory of one block, whatever the clip's length
    bridge = Bridge(vae, vae, checkpointing=True, block_size=int(cfg.model.block_size))
    operator = None if operator is None else operator.to(device)
    with Meter("encoding", "clips", sum(shard.samples for shard in to_do)) as meter:
        with torch.inference_mode():
            for shard in to_do:
                made = []
                for video in clips_of(folder, shard, settings):
                    made.append(_encode(bridge, operator, to_floats(video[None]).to(device)))
                    meter.show(meter.done + 1)
                write_latents(place, shard, made)
        return meter.total / meter.seconds


def fixed_operator(cfg: DictConfig, settings: Settings) -> LinearOperator:
    """The operator of `task`.

    Raises:
        UserError: it is drawn anew for each clip, has noise, or acts on latents.
    """
    operator: LinearOperator = build(cfg.task.operator)
    if operator.space == "latent":
        raise UserError(
            f"task={cfg.task.name} measures latents, those of the clips themselves: leave task out of the command"
        )
    shape = (1, 3, settings.frames, *settings.size)
    if operator.noise_std or operator.realise(shape, torch.Generator()) is not operator:
        raise UserError(
            f"latents=true keeps one z of each measurement, and task={cfg.task.name} draws noise or a mask anew for "
            "each: leave task out, which keeps z of the clips"
        )
    return operator


def clips_of(folder: Path, shard: Shard, settings: Settings) -> Iterator[Tensor]:
    """The clips of a shard in order, uint8 (3, T, H, W), decoded ahead by threads.

    Raises:
        UserError: one cannot be decoded.
    """
    reader = ShardReader(folder, [shard])

    def decoded(content: bytes, extension: str, key: str) -> Tensor:
        try:
            video = decode_video(content, extension, settings.size, settings.frames)
        except DecodeError as error:
            raise BadData(f"{shard.name}:{key}", str(error)) from error
        return torch.from_numpy(video)

    waiting: deque[Future[Tensor]] = deque()
    try:
        with ThreadPoolExecutor(settings.workers) as threads:
            for position in range(shard.samples):
                key, members = reader.members(0, position)
                extension = next(one for one in VIDEO_EXTENSIONS if one in members)
                content = reader.read(0, members[extension])
                waiting.append(threads.submit(decoded, content, extension, key))
                if len(waiting) >= AHEAD * settings.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    except BadData as error:
        raise UserError(
            f"{error.name} {error}: remove the shard and run the same command again"
        ) from error
    finally:
        reader.close()


def _encode(bridge: Bridge, operator: LinearOperator | None, video: Tensor) -> Tensor:
    """z (C, t, h, w) as a training would make it of the same clip."""
    if operator is not None:
        video = operator.lift(operator.measure(video))
    return bridge.encode(bridge.student_vae, video)[0]
