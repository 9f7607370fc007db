"""What a loader raises becomes one sentence that names the cause."""

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from lvis.distill.feeding import LOST, UntilLost, reason_of


class Numbers(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {"frames": torch.tensor(index)}


class DyingWhileFetched(DataLoader):
    """A loader whose worker dies between announcing a batch and handing over its memory."""

    error: Exception

    def __iter__(self):
        yield {"frames": torch.tensor(0)}
        raise self.error


@pytest.mark.parametrize(
    "error",
    [ConnectionResetError(104, "Connection reset by peer"), EOFError(), FileNotFoundError(2, "no")],
)
def test_a_worker_that_dies_while_its_batch_is_fetched_is_named_as_such(error):
    loader = DyingWhileFetched(Numbers(), num_workers=2)
    loader.error = error
    assert "a process that makes clips is gone" in list(UntilLost(loader))[-1][LOST]
    loader.num_workers = 0
    assert "a process that makes clips is gone" not in list(UntilLost(loader))[-1][LOST]


def test_a_missing_file_is_not_a_lost_worker():
    said = reason_of(FileNotFoundError(2, "No such file or directory", "clips.tar"), workers=2)
    assert "clips.tar" in said
