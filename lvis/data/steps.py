"""Who makes which batch: the order of the steps, shared out among ranks and workers."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info


class Steps(IterableDataset[dict[str, Any]]):
    """Whole batches in the order of the steps, whatever the number of workers.

    Sample i of rank r at step s is number s * world_size * batch_size + r * batch_size + i of one
    sequence, so that ranks never have unequal shares, and another number of ranks with the same
    global batch gives the same global batches. Worker w of W makes steps start + w, start + w + W,
    ...: DataLoader takes from its workers in turn, so that the steps come out in order. An iterable
    dataset also keeps Lightning from putting a sampler of its own in front.

    Args:
        samples: Length of the sequence; what does not fill a global batch is left out.
        batch_size: Samples a batch and rank.
        rank: This process's rank.
        world_size: Number of ranks.

    `start` is the step that the next iteration begins with.
    """

    def __init__(self, samples: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.samples, self.batch_size = samples, batch_size
        self.rank, self.world_size = rank, world_size
        self.start = 0

    def __len__(self) -> int:
        # Lightning reads one batch ahead of a loader without a length, and a resumed run loses it.
        return max(self.samples // (self.batch_size * self.world_size) - self.start, 0)

    def numbers(self) -> Iterator[range]:
        """The sample numbers of each batch that is this worker's to make."""
        worker = get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        for step in range(self.start + first, self.start + len(self), stride):
            begin = (step * self.world_size + self.rank) * self.batch_size
            yield range(begin, begin + self.batch_size)
