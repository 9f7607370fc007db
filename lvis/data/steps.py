"""Who makes which batch: the order of the steps, split among ranks and workers."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info


class Steps(IterableDataset[dict[str, Any]]):
    """Whole batches in the order of the steps, whatever the number of workers.

    Sample i of rank r at step s is number first + s * world_size * batch_size + r * batch_size + i of one sequence, s
    counted from where training goes on, so that ranks never have unequal shares, another number of ranks with the same
    global batch gives the same global batches, and with another batch no sample is skipped or repeated. Worker w of W
    makes steps w, w + W, ...: DataLoader takes from its workers in turn, so that the steps come out in order. An
    iterable dataset also keeps Lightning from putting a sampler of its own in front.

    Args:
        samples: Length of the sequence.
        batch_size: Samples a batch and rank.
        rank: This process's rank.
        world_size: Number of ranks.
        to_the_end: Of samples that do not fill a global batch: false leaves them out; true begins again for ranks that
            would have none, and such batches have "repeat": for validation, where each sample counts once.

    `first` is the number of the sample that the next iteration begins with.
    """

    def __init__(
        self,
        samples: int,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        to_the_end: bool = False,
    ) -> None:
        self.samples, self.batch_size = samples, batch_size
        self.rank, self.world_size = rank, world_size
        self.to_the_end = to_the_end
        self.first = 0

    def __len__(self) -> int:
        # Lightning reads one batch ahead of a loader without a length, and a resumed run loses it.
        left, together = max(self.samples - self.first, 0), self.batch_size * self.world_size
        return -(-left // together) if self.to_the_end else left // together

    def numbers(self) -> Iterator[range]:
        """The sample numbers of each batch that is this worker's to make; `samples` and above are repeats."""
        worker = get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        for step in range(first, len(self), stride):
            begin = self.first + (step * self.world_size + self.rank) * self.batch_size
            yield range(begin, begin + self.batch_size)

    def marked(self, batch: dict[str, Any], numbers: range) -> dict[str, Any]:
        """The batch, with "repeat" where its samples were given out before."""
        return {**batch, "repeat": True} if numbers.start >= self.samples else batch
