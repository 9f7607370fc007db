import math

import pytest
import torch

from lvis.backbone.rotary import axis_dims, rotary_phases, rotate


@pytest.mark.parametrize(("head_dim", "split"), [(128, (44, 42, 42)), (32, (12, 10, 10))])
def test_a_head_is_split_as_in_wan(head_dim, split):
    assert axis_dims(head_dim) == split


def test_phases_are_the_angles_of_the_formula():
    phases = rotary_phases(7, (2, 3, 4), 32)
    cos, sin = phases.real, phases.imag
    token = (1 * 3 + 2) * 4 + 3  # frame 8, row 2, column 3
    angles = [8 * 1e4 ** (-2 * k / 12) for k in range(6)]
    angles += [2 * 1e4 ** (-2 * k / 10) for k in range(5)]
    angles += [3 * 1e4 ** (-2 * k / 10) for k in range(5)]
    assert cos.dtype == torch.float32 and cos.shape == (24, 1, 16)
    torch.testing.assert_close(cos[token, 0], torch.tensor([math.cos(a) for a in angles]))
    torch.testing.assert_close(sin[token, 0], torch.tensor([math.sin(a) for a in angles]))


@pytest.mark.parametrize("first_frame", [1024, 30_000, 10_000_000])
def test_scores_depend_on_the_distance_alone(first_frame):
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(1, 5, 1, 24, generator=generator) for _ in range(2))

    def scores(start):
        phases = rotary_phases(start, (5, 1, 1), 24)
        return torch.einsum("bqhd,bkhd->bqk", rotate(query, phases), rotate(key, phases))

    torch.testing.assert_close(scores(first_frame), scores(0), rtol=0, atol=1e-5)
    assert not torch.allclose(scores(0), torch.einsum("bqhd,bkhd->bqk", query, key), atol=1e-2)


def test_real_arithmetic_turns_as_complex_does():
    heads = torch.randn(2, 24, 3, 32, generator=torch.Generator().manual_seed(0))
    phases = rotary_phases(7, (2, 3, 4), 32)
    real = torch.view_as_real(phases).contiguous()
    torch.testing.assert_close(rotate(heads, real), rotate(heads, phases), atol=1e-6, rtol=0)
