"""Every random draw of the training, as a function of what it is for."""

import hashlib

import torch

PURPOSES = (
    "measurement",
    "prompt",
    "prior_timestep",
    "prior_noise",
    "critic_timestep",
    "critic_noise",
)

Draws = dict[str, torch.Generator]


def generator_for(seed: int, step: int, rank: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose of one training step on one process.

    Nothing else feeds it, so a resumed run draws what an uninterrupted one does, and a change in
    one purpose's draws moves no other.
    """
    digest = hashlib.blake2b(f"{seed}/{step}/{rank}/{purpose}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def draws_of(seed: int, step: int, rank: int) -> Draws:
    """The generators of one step on one process, one a purpose; its micro-batches draw in turn."""
    return {purpose: generator_for(seed, step, rank, purpose) for purpose in PURPOSES}
