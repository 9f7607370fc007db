"""The LightningDataModule over a folder of videos and photographs, resumable to the exact clip."""

import hashlib
from collections.abc import Sequence

from lvis.data.footage import Footage
from lvis.data.footage_files import find_footage
from lvis.data.module import ClipDataModule


class FootageDataModule(ClipDataModule):
    """Clips from the files of a folder for training; the files that are held out for validation.

    Batches are {"video": float32 (B, 3, T, H, W) in [-1, 1], "prompt": list of B str, "index": int64 (B,)}. A
    prompt is the text of `<name>.txt` beside the file, "" where there is none.

    Args:
        folder: Of videos and photographs, at any depth.
        size: Height and width in pixels; smaller files are skipped.
        frames: Frames per clip, T.
        batch_size: Clips per batch and rank.
        num_workers: Processes that decode; 0 decodes in the training process.
        seed: Seed of all draws.
        val_clips: Clips in the validation set, from the held-out files in turn. 0 holds out no file.
        photographs: Share of the clips that are camera moves over photographs.
        native: Share of the clips at the files' own sharpness; the others are shrunk.
        max_shrink: The most that these are shrunk by.
        flip: Share of the clips that are mirrored left to right.
        short: `mirror` or `skip` videos with fewer frames than a clip.
        held_out: Share of the files that are held out.
        hold_out: By `hash` or by `source`.
        exclude: Names of files and folders that are skipped.
        cache_mb: Megabytes of decoded files kept in memory, over all workers.

    Raises:
        UserError: as `Footage`.
    """

    def __init__(
        self,
        folder: str | None = None,
        size: Sequence[int] = (128, 128),
        frames: int = 33,
        batch_size: int = 1,
        num_workers: int = 1,
        seed: int = 0,
        val_clips: int = 8,
        photographs: float = 0.4,
        native: float = 0.5,
        max_shrink: float = 4.0,
        flip: float = 0.5,
        short: str = "mirror",
        held_out: float = 0.05,
        hold_out: str = "hash",
        exclude: Sequence[str] = ("eval*",),
        cache_mb: float = 2048,
    ) -> None:
        files = find_footage(folder, exclude)

        def footage(split: str, cache: float) -> Footage:
            return Footage(
                folder,
                size,
                frames,
                seed,
                split=split,
                photographs=photographs,
                native=native,
                max_shrink=max_shrink,
                flip=flip,
                short=short,
                held_out=held_out if val_clips else 0.0,
                hold_out=hold_out,
                cache_mb=cache,
                files=files,
            )

        train = footage("train", cache_mb / max(num_workers, 1))
        val = footage("val", 0) if val_clips else train
        val.length = max(val_clips, 1) if val_clips else val.length
        super().__init__(train, val, batch_size, num_workers, val_clips)
        about = repr([(file.name, file.digest) for file in files])
        self.identity = f"footage {hashlib.sha256(about.encode()).hexdigest()}"
