"""`python -m lvis.pretrain part=wan_vae | lean_vae | teacher`: train one part of the tiny world.

Run again with the same arguments, it resumes. The trained part is exported to `<output>/export`.
"""

import json
from pathlib import Path

import hydra
import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from lvis.config import entry
from lvis.data.synthetic import SyntheticVideos
from lvis.errors import UserError
from lvis.files import write_text
from lvis.pretraining.autoencoder import AutoencoderPretraining, latent_statistics
from lvis.pretraining.inflation import initialise_as_image_vae
from lvis.pretraining.latents import LatentBank, MixedBatches, build_bank
from lvis.pretraining.prior import PriorPretraining
from lvis.progress import console
from lvis.weights import save_lean_vae, save_transformer, save_wan_vae

EMA_DECAY = 0.998
STATISTICS_CLIPS = 64


def pretrain(cfg: DictConfig) -> dict[str, float]:
    """Train `cfg.part` and export it; returns the last validation metrics."""
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    lightning.seed_everything(cfg.seed, verbose=False)
    recipes = {"autoencoder": pretrain_autoencoder, "prior": pretrain_prior}
    if cfg.part.kind not in recipes:
        raise UserError(f"part.kind={cfg.part.kind} is not one of {', '.join(recipes)}")
    metrics = recipes[cfg.part.kind](cfg, Path(cfg.output))
    write_text(Path(cfg.output) / "metrics.json", json.dumps(metrics, indent=2))
    console.print(metrics)
    return metrics


def pretrain_autoencoder(cfg: DictConfig, output: Path) -> dict[str, float]:
    part = cfg.part
    vae = hydra.utils.instantiate(part.module, _convert_="all")
    vae.encode_dtype = vae.decode_dtype = torch.bfloat16 if "bf16" in cfg.precision else torch.float32
    if part.inflate:
        initialise_as_image_vae(vae.net)
    for stage in part.stages:
        metrics = fit(
            cfg,
            AutoencoderPretraining(
                vae,
                learning_rate=stage.learning_rate,
                steps=stage.steps,
                edge_weight=part.edge_weight,
                latent_noise=part.latent_noise,
                frames_as_images=stage.frames_as_images,
            ),
            DataLoader(
                SyntheticVideos(cfg.seed + stage.seed, stage.frames, tuple(stage.size)),
                batch_size=stage.batch_size,
                num_workers=1,
                persistent_workers=True,
            ),
            DataLoader(SyntheticVideos(cfg.seed, 17, (128, 128), "val", length=8)),
            stage.steps,
            output / stage.name,
        )
    videos = [
        SyntheticVideos(cfg.seed + 99, 17, (128, 128))[i]["video"]
        for i in range(STATISTICS_CLIPS)
    ]
    vae.float().eval()
    mean, std = latent_statistics(vae, videos)
    vae.set_statistics(mean, std)
    save = {"wan_vae": save_wan_vae, "lean_vae": save_lean_vae}[part.name]
    save(vae, output / "export", dtype=torch.float16)
    return metrics


def pretrain_prior(cfg: DictConfig, output: Path) -> dict[str, float]:
    part = cfg.part
    vae = hydra.utils.instantiate(part.vae)
    banks = [
        build_bank(
            Path(part.bank_folder), vae, clips=b.clips, frames=b.frames, size=tuple(b.size), seed=cfg.seed
        )
        for b in part.banks
    ]
    held_out = build_bank(
        Path(part.bank_folder), vae, clips=16, frames=33, size=(128, 128), seed=part.held_out_seed
    )
    module = PriorPretraining(
        hydra.utils.instantiate(part.transformer, _convert_="all"),
        hydra.utils.instantiate(part.text_encoder, _convert_="all"),
        learning_rate=part.learning_rate,
        steps=part.steps,
        shift=part.shift,
        text_dropout=part.text_dropout,
    )
    batches = MixedBatches(
        [LatentBank(bank) for bank in banks],
        [b.batch_size for b in part.banks],
        [b.share for b in part.banks],
        cfg.seed,
    )
    metrics = fit(
        cfg,
        module,
        DataLoader(batches, batch_size=None, num_workers=0),
        DataLoader(LatentBank(held_out), batch_size=8),
        part.steps,
        output,
    )
    save_transformer(module.transformer, output / "export" / "teacher", dtype=torch.float16)
    from lvis.weights import save_text_encoder

    save_text_encoder(module.text_encoder, output / "export" / "text_encoder", dtype=torch.float16)
    return metrics


def fit(
    cfg: DictConfig,
    module: lightning.LightningModule,
    train: DataLoader,
    val: DataLoader,
    steps: int,
    output: Path,
) -> dict[str, float]:
    """Run Lightning's loop with an exponential moving average; the averaged weights are left in `module`."""
    checkpoints = output / "checkpoints"
    trainer = lightning.Trainer(
        accelerator="auto",
        devices=1,
        precision=cfg.precision,
        max_steps=steps,
        max_time={"minutes": cfg.max_minutes} if cfg.max_minutes else None,
        gradient_clip_val=1.0,
        val_check_interval=cfg.validate_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=25,
        callbacks=[
            EMAWeightAveraging(decay=EMA_DECAY),
            ModelCheckpoint(
                checkpoints, save_last=True, save_top_k=0, every_n_train_steps=cfg.save_every
            ),
            TQDMProgressBar(refresh_rate=10),
        ],
        logger=CSVLogger(output, name="", version="curves"),
        enable_model_summary=False,
    )
    last = checkpoints / "last.ckpt"
    trainer.fit(module, train, val, ckpt_path=last if last.is_file() else None, weights_only=True)
    results = trainer.validate(module, val, verbose=False)
    return {key: float(value) for key, value in results[0].items()}


main = entry("pretrain")(pretrain)

if __name__ == "__main__":
    main()
