"""Training clips that end in a reason instead of an exception, so that all processes stop at one step boundary."""

import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from lightning import LightningDataModule

from lvis.errors import UserError, of_the_machine

LOST = "lost"  # the key of the last batch of a loader that failed: why


class Feed(LightningDataModule):
    """Another data module's clips; its training loader is followed by {LOST: reason} where it fails.

    One process that raises leaves the others waiting for it; one that has a reason can tell them.
    """

    def __init__(self, clips: LightningDataModule) -> None:
        super().__init__()
        self.clips = clips

    def train_dataloader(self) -> "UntilLost":
        self.clips.trainer = self.trainer
        return UntilLost(self.clips.train_dataloader())

    def val_dataloader(self) -> Any:
        self.clips.trainer = self.trainer
        return self.clips.val_dataloader()


class UntilLost:
    """The batches of `loader`, and one more, {LOST: reason}, where it fails."""

    def __init__(self, loader: Iterable[dict[str, Any]]) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        heeding = threading.current_thread() is threading.main_thread()
        handler = signal.getsignal(signal.SIGCHLD) if heeding else None
        try:
            for batch in self.loader:
                if heeding:
                    # DataLoader has put one there that raises wherever the training is when a worker dies, in the
                    # middle of an update too; it also notices when it waits for that worker's batch
                    signal.signal(signal.SIGCHLD, handler)
                    heeding = False
                yield batch
        except Exception as error:
            yield {LOST: reason_of(error, workers=getattr(self.loader, "num_workers", 0))}


def reason_of(error: Exception, workers: int = 0) -> str:
    """One sentence for what a loader with `workers` processes raised, in this process or in a worker."""
    text = str(error).strip()
    if not text.startswith("Caught ") and (
        "DataLoader worker" in text or (workers and _of_the_connection(error))
    ):
        return (
            "a process that makes clips is gone (killed, or out of memory): lower data.num_workers "
            "if memory was short"
        )
    if text.startswith("Caught "):  # a worker's, with its traceback
        last = text.splitlines()[-1]
        kind, _, told = last.partition(": ")
        if kind.rpartition(".")[2] == UserError.__name__:
            return told
        return f"the clips cannot be made ({last})"
    if isinstance(error, UserError):
        return text
    return of_the_machine(error) or (
        f"the clips cannot be made ({type(error).__name__}: {' '.join(text.split())})"
    )


def _of_the_connection(error: Exception) -> bool:
    """Whether a worker died while its batch was being fetched: the socket breaks before DataLoader notices."""
    return isinstance(error, ConnectionError | EOFError) or (
        isinstance(error, FileNotFoundError) and error.filename is None
    )
