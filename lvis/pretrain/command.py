"""`python -m lvis.pretrain part=wan_vae | lean_vae | teacher | ...` (conf/part/): one part of the tiny world.

Run again with the same arguments, it resumes. The trained part is exported to `<output>/export`.
"""

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import hydra
import torch
from omegaconf import DictConfig, ListConfig
from torch.utils.data import DataLoader

from lvis.backbone.image_prior import ImagePrior
from lvis.backbone.pixel_prior import PixelPrior
from lvis.cli.config import entry, plain
from lvis.cli.progress import console
from lvis.data.synthetic import SyntheticVideos
from lvis.data.workers import begin_worker
from lvis.errors import UserError
from lvis.files import write_text
from lvis.pretrain.autoencoder import (
    latent_statistics,
    reconstruction_loss,
    reconstruction_psnr,
)
from lvis.pretrain.causal import (
    BlockCausal,
    consistency_loss,
    forcing_loss,
    streaming_errors,
)
from lvis.pretrain.image_prior import (
    ENCODED_AT_ONCE,
    drawn_from,
    encoded_frames,
    image_psnr,
    image_reconstruction_loss,
    latent_noise_errors,
    latent_noise_loss,
    standardise,
)
from lvis.pretrain.inflation import initialise_as_image_vae
from lvis.pretrain.latents import LatentBank, MixedBatches, build_bank
from lvis.pretrain.loop import EMA_DECAY, Plan, fit
from lvis.pretrain.pixel_prior import noise_errors, noise_prediction_loss
from lvis.pretrain.prior import Prior, denoising_errors, flow_matching_loss
from lvis.vae import WanVAE
from lvis.weights import (
    load_text_encoder,
    load_transformer,
    save_lean_vae,
    save_text_encoder,
    save_transformer,
    save_wan_vae,
)
from lvis.weights.image_prior import save_image_prior
from lvis.weights.pixel_prior import save_pixel_prior

STATISTICS_CLIPS = 64
VALIDATION_CLIPS = 8
TEXT_EMBEDDER = "net.condition_embedder.text_embedder."


def pretrain(cfg: DictConfig) -> dict[str, float]:
    """Train `cfg.part` and export it; returns the last validation metrics.

    Raises:
        UserError: no part, or one of an unknown kind.
    """
    if "part" not in cfg:
        raise UserError(
            "name the part of the tiny world to train, which takes hours: part=wan_vae, lean_vae, teacher, "
            "causal_prior, pixel_prior or image_prior. It is written to outputs/pretrain/PART; teacher needs a "
            "trained wan_vae, and causal_prior both"
        )
    recipes = {
        "autoencoder": pretrain_autoencoder,
        "prior": pretrain_prior,
        "causal": pretrain_causal,
        "pixel_prior": pretrain_pixel_prior,
        "image_prior": pretrain_image_prior,
    }
    if cfg.part.kind not in recipes:
        raise UserError(f"part.kind={cfg.part.kind} is not one of {', '.join(recipes)}")
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    torch.manual_seed(cfg.seed)
    metrics = recipes[cfg.part.kind](cfg, Path(cfg.output))
    write_text(Path(cfg.output) / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    console.print(metrics)
    return metrics


def pretrain_autoencoder(cfg: DictConfig, output: Path) -> dict[str, float]:
    """Every stage of `cfg.part` in turn, then the statistics of its latents."""
    part = cfg.part
    vae = hydra.utils.instantiate(part.module, _convert_="all")
    vae.encode_dtype = vae.decode_dtype = torch.bfloat16 if cfg.bf16 else torch.float32
    if part.inflate:
        initialise_as_image_vae(vae.net)
    # long enough to show what becomes of a stream: a VAE that never saw more than 13 frames drifts after 16
    val = SyntheticVideos(cfg.seed, 33, (128, 128), "val", length=VALIDATION_CLIPS)
    metrics: dict[str, float] = {}
    for stage in part.stages:
        for name, parameter in vae.named_parameters():
            parameter.requires_grad_(not (stage.decoder_only and is_of_encoder(name)))
        clips = SyntheticVideos(cfg.seed + stage.seed, stage.frames, tuple(stage.size))
        batches = DataLoader(
            clips, batch_size=stage.batch_size, num_workers=1, worker_init_fn=begin_worker
        )
        loss_of = reconstruction_loss(
            vae,
            latent_noise=part.latent_noise,
            frames_as_images=stage.frames_as_images,
            l1_weight=part.l1_weight,
            chroma_weight=stage.get("chroma_weight", 1.0),
        )
        validate = reconstruction_psnr(vae, DataLoader(val))
        metrics = fit(vae, loss_of, validate, batches, plan(stage), output / stage.name)
    videos = [
        SyntheticVideos(cfg.seed + 99, 17, (128, 128))[index]["video"]
        for index in range(STATISTICS_CLIPS)
    ]
    vae.set_statistics(*latent_statistics(vae, videos))
    save: Callable[..., None] = save_wan_vae if isinstance(vae, WanVAE) else save_lean_vae
    save(vae, output / "export", dtype=torch.float16)
    return metrics


def is_of_encoder(name: str) -> bool:
    """Whether a parameter of `WanVAE` has a say in the latents."""
    return "encoder" in name or "quant_conv" in name.replace("post_quant_conv", "")


def pretrain_prior(cfg: DictConfig, output: Path) -> dict[str, float]:
    """Flow matching on encoded clips, a stage after the other: each has its banks, rates and noise levels."""
    part = cfg.part
    transformer = hydra.utils.instantiate(part.transformer, _convert_="all")
    transformer.reset_parameters()
    prior = Prior(transformer, hydra.utils.instantiate(part.text_encoder))
    if part.start_from is not None:
        earlier = load_transformer(str(Path(part.start_from) / "teacher")).state_dict()
        if not part.start_text:
            earlier = {
                key: value
                for key, value in earlier.items()
                if not key.startswith(TEXT_EMBEDDER) and ".attn2." not in key
            }
        else:
            text_encoder = load_text_encoder(
                str(Path(part.start_from) / "text_encoder"), text_len=part.transformer.text_len
            )
            prior.text_encoder.load_state_dict(text_encoder.state_dict())
        transformer.load_state_dict(earlier, strict=part.start_text)
    prior.text_encoder.requires_grad_(not part.freeze_text)
    by_adamw = ("text_encoder.", TEXT_EMBEDDER, ".attn2.")
    metrics: dict[str, float] = {}
    for stage in part.stages:
        batches, held_out = latent_batches(part, stage.banks, cfg.seed)
        loss_of = flow_matching_loss(
            prior, shift=stage.shift, text_dropout=part.text_dropout, autocast=part.autocast
        )
        validate = denoising_errors(prior, held_out, part.autocast)
        schedule = dataclasses.replace(plan(stage), adamw_only=by_adamw)
        metrics = fit(prior, loss_of, validate, batches, schedule, output / stage.name)
    save_transformer(transformer, output / "export" / "teacher", dtype=torch.float16)
    save_text_encoder(prior.text_encoder, output / "export" / "text_encoder", dtype=torch.float16)
    return metrics


def pretrain_causal(cfg: DictConfig, output: Path) -> dict[str, float]:
    """Diffusion forcing of the teacher through the block-causal mask, then consistency distillation of that."""
    part = cfg.part
    batches, held_out = latent_batches(part, part.banks, cfg.seed)
    prior = BlockCausal(
        hydra.utils.instantiate(part.transformer),
        hydra.utils.instantiate(part.text_encoder),
        part.block_size,
    )
    validate = streaming_errors(prior, held_out)
    shared = {"shift": part.shift, "clean_share": part.clean_share}
    shared |= {"text_dropout": part.text_dropout}
    forcing = forcing_loss(prior, **shared)
    fit(prior, forcing, validate, batches, plan(part.stages.forcing), output / "forcing")
    teacher = copy.deepcopy(prior).requires_grad_(False)
    distilling = consistency_loss(prior, teacher, steps=part.consistency_steps, **shared)
    metrics = fit(
        prior, distilling, validate, batches, plan(part.stages.consistency), output / "consistency"
    )
    save_transformer(prior.transformer, output / "export" / "prior", dtype=torch.float16)
    return metrics


def pretrain_pixel_prior(cfg: DictConfig, output: Path) -> dict[str, float]:
    """Noise prediction on frames of the synthetic clips."""
    part = cfg.part
    prior = PixelPrior.from_config(plain(part.net))
    prior.to(memory_format=torch.channels_last)
    side = (prior.size, prior.size)
    clips = SyntheticVideos(cfg.seed, part.frames, side)
    batches = DataLoader(
        clips, batch_size=part.batch_size, num_workers=1, worker_init_fn=begin_worker
    )
    held_out = some_frames(cfg.seed, side, "val", 2 * VALIDATION_CLIPS)
    metrics = fit(
        prior,
        noise_prediction_loss(prior, cfg.bf16),
        noise_errors(prior, held_out, cfg.bf16),
        batches,
        plan(part),
        output / "noise",
    )
    save_pixel_prior(prior, output / "export")
    return metrics


def pretrain_image_prior(cfg: DictConfig, output: Path) -> dict[str, float]:
    """An image VAE, its latents standardised, and noise prediction on a bank of them."""
    part, size = cfg.part, tuple(cfg.part.size)
    prior = ImagePrior.from_config(plain(part.unet), plain(part.vae), ENCODED_AT_ONCE)
    prior.to(memory_format=torch.channels_last)
    stage = part.autoencoder
    batches = DataLoader(
        SyntheticVideos(cfg.seed, stage.frames, size),
        batch_size=stage.batch_size, num_workers=1, worker_init_fn=begin_worker,
    )  # fmt: skip
    held_out = some_frames(cfg.seed, size, "val", 2 * VALIDATION_CLIPS)
    loss_of = image_reconstruction_loss(
        prior,
        crop=stage.crop,
        latent_noise=part.latent_noise,
        l1_weight=part.l1_weight,
        chroma_weight=part.chroma_weight,
        autocast=cfg.bf16,
    )
    validate = image_psnr(prior, held_out)
    metrics = fit(prior.vae, loss_of, validate, batches, plan(stage), output / "autoencoder")
    prior.vae.eval()
    statistics = some_frames(cfg.seed + 99, size, "train", part.statistics_clips)
    standardise(prior, statistics, part.latent_noise)
    bank = encoded_frames(
        output / "latents.pt", prior, part.bank.clips, part.bank.frames, size, cfg.seed
    )
    with torch.no_grad():
        held_out_latents = prior.encode(held_out)
    metrics |= fit(
        prior.unet,
        latent_noise_loss(prior, cfg.bf16),
        latent_noise_errors(prior, held_out_latents, cfg.bf16),
        drawn_from(bank, part.denoiser.batch_size),
        plan(part.denoiser),
        output / "denoiser",
    )
    save_image_prior(prior, output / "export")
    return metrics


def some_frames(seed: int, size: tuple[int, int], split: str, count: int) -> torch.Tensor:
    """The first frames of the first `count` clips, (count, 3, H, W)."""
    clips = SyntheticVideos(seed, 1, size, split, length=count)
    return torch.cat([clips[index]["video"] for index in range(count)], dim=1).transpose(0, 1)


def latent_batches(part: DictConfig, banks: ListConfig, seed: int) -> tuple[DataLoader, DataLoader]:
    """Endless batches from `banks`, encoded first where they are not yet, and the held-out clips."""
    vae = hydra.utils.instantiate(part.vae)

    def encoded(bank: DictConfig, seed: int) -> LatentBank:
        wanted = {"clips": bank.clips, "frames": bank.frames, "size": tuple(bank.size)}
        return LatentBank(build_bank(Path(part.bank_folder), vae, **wanted, seed=seed))

    mixed = MixedBatches(
        [encoded(bank, seed) for bank in banks],
        [bank.batch_size for bank in banks],
        [bank.share for bank in banks],
        seed,
    )
    held_out = encoded(part.held_out, part.held_out.seed)
    return (
        DataLoader(mixed, batch_size=None),
        DataLoader(held_out, batch_size=part.held_out.batch_size),
    )


def plan(stage: DictConfig) -> Plan:
    return Plan(
        steps=stage.steps,
        adamw_rate=stage.adamw_rate,
        muon_rate=stage.muon_rate,
        ema_decay=stage.get("ema_decay", EMA_DECAY),
    )


main = entry("pretrain")(pretrain)
