"""The two forms of a convolution are one function, and the faster is taken where it can be timed."""

import pytest
import torch

from lvis.fakecuda import Recorder, fake_cuda
from lvis.kernels import convolution
from lvis.kernels.convolution import (
    dense,
    dense_direct,
    dense_taps,
    depthwise,
    depthwise_direct,
    depthwise_taps,
)

RANDOM = torch.Generator().manual_seed(0)
PAIRS = {
    "depthwise": (depthwise_direct, depthwise_taps, (2, 5, 6, 7, 8), (8, 1, 3, 3, 3), 8),
    "dense": (dense_direct, dense_taps, (2, 4, 5, 6, 7), (8, 4, 3, 3, 3), 8),
    "dense in time": (dense_direct, dense_taps, (1, 4, 5, 6, 7), (8, 4, 3, 1, 1), 8),
}


@pytest.fixture(autouse=True)
def fresh():
    convolution.set_form("auto")
    yield
    convolution.set_form("auto")


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("pair", PAIRS)
def test_both_forms_have_the_same_values_and_gradients(pair, biased):
    direct, taps, shape, kernel, width = PAIRS[pair]
    tensors = [torch.randn(size, generator=RANDOM) for size in (shape, kernel, (width,))]
    x, weight, bias = (tensor.requires_grad_() for tensor in tensors)
    answers = [form(x, weight, bias if biased else None) for form in (direct, taps)]
    torch.testing.assert_close(*answers, atol=1e-5, rtol=1e-5)
    cotangent = torch.randn(answers[0].shape, generator=RANDOM)
    inputs = (x, weight, bias) if biased else (x, weight)
    gradients = [torch.autograd.grad((a * cotangent).sum(), inputs) for a in answers]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_the_faster_form_is_found_once_per_shape_outside_autograd(monkeypatch):
    timed = []

    def seconds(run, runs=3):
        run()
        timed.append(run)
        return 1 / len(timed)  # what is timed last is the fastest

    monkeypatch.setattr(convolution, "device_seconds", seconds)
    with fake_cuda(Recorder()), torch.inference_mode():
        x, weight = torch.zeros(1, 5, 4, 4, 8, device="cuda"), torch.zeros(8, 1, 3, 3, 3).cuda()
        assert depthwise(x, weight, None).shape == (1, 3, 4, 4, 8)
        depthwise(x, weight, None)
        assert len(timed) == 2
        assert set(convolution.found_forms().values()) == {"taps"}
        convolution.set_form("direct")
        depthwise(x, weight, None)
        assert len(timed) == 2
    convolution.set_form("auto")
    with fake_cuda(Recorder()):
        video = torch.zeros(1, 4, 5, 4, 4, device="cuda", requires_grad=True)
        dense(video, torch.zeros(8, 4, 3, 3, 3, device="cuda"), None)
    assert len(timed) == 2
