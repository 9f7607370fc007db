import pytest
import torch
from instantvir.text_guidance import split_difference

from lvis.operators import Downsampling, Inpainting


@pytest.fixture
def videos() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(1, 3, 4, 16, 16, generator=generator) * 2 - 1 for _ in range(2))


@pytest.mark.parametrize("operator", [Inpainting(), Downsampling(4)])
def test_what_differs_in_the_null_space_alone_agrees_in_what_was_measured(operator, videos):
    first, second = videos
    operator = operator.realise(first.shape)
    free = second - operator.pinv(operator(second))
    found = split_difference(operator, first + free, first)
    assert found.measured < 1e-6 and found.seen < 1e-6
    assert found.free == pytest.approx(found.total) and found.free_share == pytest.approx(1)


@pytest.mark.parametrize("operator", [Inpainting(), Downsampling(4)])
def test_the_two_parts_are_orthogonal_and_add_up(operator, videos):
    found = split_difference(operator.realise(videos[0].shape), *videos)
    assert found.seen**2 + found.free**2 == pytest.approx(found.total**2, rel=1e-5)
    assert 0 < found.free_share < 1
    same = split_difference(operator.realise(videos[0].shape), videos[0], videos[0])
    assert same.total == same.free_share == 0
