"""Tiling: the identity stays the identity, windows cover everything, seams are blended."""

import pytest
import torch

from lvis.errors import UserError
from lvis.solvers.tiling import over_patches, over_windows, starts


def test_windows_cover_with_at_least_the_overlap():
    first = starts(100, 16, 4)
    assert first[0] == 0 and first[-1] == 84
    assert all(b - a <= 12 for a, b in zip(first, first[1:], strict=False))
    with pytest.raises(UserError, match="overlap=16"):
        starts(100, 16, 16)


def test_the_identity_has_no_seams():
    frames = torch.randn(2, 3, 40, 52, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(over_patches(lambda p: p, frames, 16, 4), frames, atol=1e-5)


def test_windows_that_disagree_are_blended_without_a_jump():
    values = iter([0.0, 1.0])
    ramp = over_windows(
        lambda window: torch.full_like(window, next(values)), torch.zeros(1, 24), 1, 16, 8
    )
    assert ramp[0, 0] == 0 and ramp[0, -1] == 1
    assert ramp.diff().max() < 0.35
