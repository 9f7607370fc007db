"""Training clips with a fault among them: `FAULT=<kind>@<step>[@<rank>]` in the environment says which and when."""

import os
import resource
import signal
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from lvis.data import VideoDataModule

MOST_BYTES = 20_000  # of a file, once the "disk" is full; a line of metrics.jsonl still fits


class FaultyVideos(VideoDataModule):
    """`VideoDataModule` whose training loader acts as FAULT says, just before it gives out that step's clips.

    nan: a clip of NaN, at this step; nans: at every step from it; leap: clips a thousand times as bright; full: this
    process can write no file beyond `MOST_BYTES` from now on; roomy: it can again; huge: validation clips that no
    memory holds; term, usr1, kill: the signal, to this very process.
    """

    def _faults(self) -> list[tuple[str, int]]:
        found = []
        for fault in filter(None, os.environ.get("FAULT", "").split(",")):
            kind, step, *rank = fault.split("@")
            if not rank or int(rank[0]) == self.ranks()[0]:
                found.append((kind, int(step)))
        return found

    def train_dataloader(self) -> Any:
        done = self.position // (self.batch_size * self.ranks()[1])
        return Acting(super().train_dataloader(), self._faults(), done)

    def val_dataloader(self) -> Any:
        if any(kind == "huge" for kind, _ in self._faults()):
            video = torch.zeros(1).expand(1, 3, 9, 2**20, 2**20)
            return [{"video": video, "prompt": [""], "index": torch.zeros(1)}]
        return super().val_dataloader()


class Acting:
    """A loader with faults; `__len__` as Lightning needs it."""

    def __init__(
        self, loader: DataLoader[dict[str, Any]], faults: list[tuple[str, int]], first: int
    ) -> None:
        self.loader, self.faults, self.first = loader, faults, first

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for step, batch in enumerate(self.loader, self.first + 1):
            for kind, when in self.faults:
                if step == when or (kind == "nans" and step >= when):
                    act(kind, batch)
            yield batch


def act(kind: str, batch: dict[str, Any]) -> None:
    if kind in ("nan", "nans"):
        batch["video"][0] = float("nan")
    elif kind == "leap":
        batch["video"] *= 1000
    elif kind in ("full", "roomy"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES if kind == "full" else most, most))
    elif kind in ("term", "usr1", "kill"):
        os.kill(os.getpid(), getattr(signal, f"SIG{kind.upper()}"))
