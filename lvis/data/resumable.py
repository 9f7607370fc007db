"""What the DataModules share: their rank, and the place in the order of batches that a checkpoint keeps."""

from lightning import LightningDataModule

from lvis.data.steps import Steps
from lvis.errors import UserError


def require_least(**counts: tuple[float, float]) -> None:
    """Raises UserError for the first of the keys of `data` whose value is below its least; both are given."""
    for name, (value, least) in counts.items():
        if value < least:
            raise UserError(f"data.{name} is {value}: use {least} or more.")


class ResumableDataModule(LightningDataModule):
    """A DataModule whose training batches can begin at any sample.

    `identity` says what decides which clips come when; a run resumes only on the same data.
    """

    identity: str

    def __init__(self) -> None:
        super().__init__()
        self.sharing = 1  # processes that are given the same clips
        self.position = 0
        self.stream: Steps | None = None

    def ranks(self) -> tuple[int, int]:
        """This process's rank and the number of ranks, those that share clips being one; (0, 1) without a Trainer."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank // self.sharing, self.trainer.world_size // self.sharing

    def set_position(self, samples: int) -> None:
        """Lets training continue after this many clips of all ranks together; takes effect when the loader is next
        iterated. Samples and not steps, so that another number of ranks or another batch skips and repeats none.

        Raises:
            UserError: `samples` is negative.
        """
        if samples < 0:
            raise UserError(f"the data position is {samples}: it may not be negative.")
        self.position = samples
        if self.stream is not None:
            self.stream.first = samples
