"""Every random draw of the training, as a function of what it is for."""

import hashlib
from collections.abc import Iterable

import torch

PURPOSES = (
    "measurement",
    "prompt",
    "prior_timestep",
    "prior_noise",
    "critic_timestep",
    "critic_noise",
    "self_supervision",
    "initial_noise",
    "initial_point",
)


def generator_for(seed: int, step: int, clip: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose of one clip of one training step.

    Nothing else feeds it, so a resumed run draws what an uninterrupted one does, and a change in
    one purpose's draws moves no other.

    Args:
        clip: its place in the step's batch over all processes, so that a clip is drawn for alike
            however many processes, and micro-batches, share the batch.
    """
    digest = hashlib.blake2b(f"{seed}/{step}/{clip}/{purpose}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


class Draws:
    """The generators of some clips of one training step, one per purpose and clip.

    Args:
        clips: places in the step's batch over all processes.
    """

    def __init__(self, seed: int, step: int, clips: Iterable[int]) -> None:
        self.seed, self.step, self.clips = seed, step, tuple(clips)

    def __getitem__(self, purpose: str) -> tuple[torch.Generator, ...]:
        """New generators at their beginning: two readers of one purpose draw the same."""
        assert purpose in PURPOSES, purpose
        return tuple(generator_for(self.seed, self.step, clip, purpose) for clip in self.clips)

    def part(self, begin: int, end: int) -> "Draws":
        """Of the clips from the `begin`-th to before the `end`-th: a micro-batch's."""
        return Draws(self.seed, self.step, self.clips[begin:end])
