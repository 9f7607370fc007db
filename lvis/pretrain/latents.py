"""A bank of encoded synthetic clips on disk, so that a prior can be trained without encoding a clip twice.

Legend: N clips, t h w latent frames and sides.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from lvis.cli.progress import track
from lvis.data.synthetic import synthetic_clip
from lvis.files import write_text
from lvis.vae import VideoVAE

LATENT_CHANNELS = 16


def bank_name(clips: int, size: tuple[int, int], frames: int, seed: int) -> str:
    return f"{clips}x{frames}x{size[0]}x{size[1]}_seed{seed}"


@torch.no_grad()
def build_bank(
    folder: Path, vae: VideoVAE, *, clips: int, frames: int, size: tuple[int, int], seed: int
) -> Path:
    """Encode clips 0 .. `clips` - 1 of `seed` into `folder`; goes on where an earlier call stopped.

    Returns the bank's folder: latents.npy (N, 16, t, h, w) float16, prompts.json, and count.txt, the clips done.
    """
    bank = folder / bank_name(clips, size, frames, seed)
    bank.mkdir(parents=True, exist_ok=True)
    shape = (clips, LATENT_CHANNELS, vae.latent_frames(frames), size[0] // 8, size[1] // 8)
    latents_path, prompts_path, count_path = (
        bank / name for name in ("latents.npy", "prompts.json", "count.txt")
    )
    done = int(count_path.read_text()) if count_path.exists() else 0
    if latents_path.exists() and np.load(latents_path, mmap_mode="r").shape != shape:
        done = 0
        latents_path.unlink()
    mode = "r+" if latents_path.exists() else "w+"
    latents = np.lib.format.open_memmap(
        latents_path, mode=mode, dtype=np.float16, shape=None if mode == "r+" else shape
    )
    prompts = json.loads(prompts_path.read_text())[:done] if done else []
    for index in track(range(done, clips), description=f"encoding {bank.name}", unit="clips"):
        clip = synthetic_clip(seed, index, frames, size)
        latents[index] = vae.encode(clip.video[None])[0].float().numpy().astype(np.float16)
        prompts.append(clip.caption)
        if (index + 1) % 50 == 0 or index + 1 == clips:
            latents.flush()
            write_text(prompts_path, json.dumps(prompts))
            write_text(count_path, str(index + 1))
    return bank


class LatentBank(Dataset):
    """Latents and prompts of a bank; items {"latents": float32 (16, t, h, w), "prompt": str}."""

    def __init__(self, bank: Path) -> None:
        self.prompts = json.loads((bank / "prompts.json").read_text())
        self.latents = np.load(bank / "latents.npy", mmap_mode="r")[: len(self.prompts)]

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, index: int) -> dict:
        latents = torch.from_numpy(np.asarray(self.latents[index], dtype=np.float32))
        return {"latents": latents, "prompt": self.prompts[index]}


class MixedBatches(torch.utils.data.IterableDataset):
    """Endless seeded batches, each from one bank, chosen with probability proportional to `shares`.

    banks        datasets of equal item structure, one per clip size
    batch_sizes  clips per batch for each bank
    shares       relative frequency of each bank
    """

    def __init__(
        self, banks: list[LatentBank], batch_sizes: list[int], shares: list[float], seed: int
    ) -> None:
        self.banks = banks
        self.batch_sizes = batch_sizes
        self.shares = np.asarray(shares) / np.sum(shares)
        self.seed = seed

    def __iter__(self):
        rng = np.random.default_rng(self.seed)
        while True:
            choice = rng.choice(len(self.banks), p=self.shares)
            bank = self.banks[choice]
            items = [bank[int(i)] for i in rng.integers(len(bank), size=self.batch_sizes[choice])]
            yield {
                "latents": torch.stack([item["latents"] for item in items]),
                "prompt": [item["prompt"] for item in items],
            }
