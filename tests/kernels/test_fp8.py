"""Linear layers in float8: what is rounded and how much, what runs on CUDA, and where it is refused."""

import pytest
import torch
from torch import nn

from lvis import hardware
from lvis.cli.config import compose
from lvis.errors import UserError
from lvis.fakecuda.streams import recorded
from lvis.kernels.fp8 import Fp8Linear, quantise
from lvis.solvers.build import build_solver


def layer(inputs=64, outputs=48):
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs).requires_grad_(False)


def test_numbers_that_float8_has_are_multiplied_exactly():
    plain = layer()
    # powers of two with a largest one in each row, so that the scale is one, too
    plain.weight.copy_(2.0 ** torch.randint(-3, 4, plain.weight.shape))
    plain.weight[:, 0] = 448
    x = 2.0 ** torch.randint(-3, 4, (2, 5, 64)).float()
    x[..., 0] = -448
    torch.testing.assert_close(Fp8Linear(plain)(x), plain(x), atol=1e-2, rtol=1e-6)


def test_the_error_is_that_of_four_bits_and_does_not_depend_on_the_scale_of_a_row():
    plain = layer(256, 64)
    plain.weight.mul_(torch.logspace(-3, 3, 64).unsqueeze(1))
    plain.bias.zero_()
    x = torch.randn(30, 256) * torch.logspace(-3, 3, 30).unsqueeze(1)
    wanted, found = plain(x), Fp8Linear(plain)(x)
    error = (found - wanted).square().mean() ** 0.5 / wanted.square().mean() ** 0.5
    rows = (found - wanted).norm(dim=1) / wanted.norm(dim=1)
    columns = (found - wanted).norm(dim=0) / wanted.norm(dim=0)
    assert 0.005 < error < 0.06
    assert rows.max() < 0.15 and columns.max() < 0.15


def test_results_keep_the_dtype_and_layers_of_other_sizes_stay():
    net = nn.ModuleDict(
        {"a": layer(64, 48), "b": layer(64, 40), "c": nn.ModuleList([layer(48, 16)])}
    )
    assert quantise(net) == 2
    kinds = [type(each) for each in (net["a"], net["b"], net["c"][0])]
    assert kinds == [Fp8Linear, nn.Linear, Fp8Linear]
    x = torch.randn(3, 64, dtype=torch.bfloat16)
    assert net["a"](x).dtype == torch.bfloat16
    assert net["a"].weight.element_size() == 1


def test_on_cuda_a_layer_is_one_scaled_product_and_waits_for_nothing():
    with recorded() as recorder:
        made = Fp8Linear(layer().to(torch.bfloat16))
        for name, buffer in list(made.named_buffers()):
            setattr(made, name, torch.empty_like(buffer, device="cuda"))
        recorder.events.clear()
        recorder.kernels.clear()
        out = made(torch.zeros(2, 32, 64, device="cuda", dtype=torch.bfloat16))
        assert (out.shape, out.dtype) == ((2, 32, 48), torch.bfloat16)
    [product] = [kernel for kernel in recorder.kernels if kernel.flops]
    assert product.dtype == "float8_e4m3fn" and product.flops == 2 * 64 * 64 * 48
    assert recorder.events == []


@pytest.fixture(scope="module")
def student():
    return build_solver(
        compose("restore", ["task=deblur", "model=tiny", "precision=fp8", "device=cpu"])
    )


def test_the_tiny_student_in_float8_is_near_the_one_in_bfloat16(student):
    keys = ["task=deblur", "model=tiny", "precision=bf16", "device=cpu"]
    plain = build_solver(compose("restore", keys)).transformer
    layers = [each for each in student.transformer.modules() if isinstance(each, Fp8Linear)]
    # query, key, value, out of two attentions, and two of the feed-forward network, in each block
    assert len(layers) == 10 * len(plain.net.blocks)
    torch.manual_seed(0)
    latents, text = torch.randn(1, 16, 6, 8, 8), torch.randn(1, plain.text_len, plain.text_dim)
    with torch.no_grad():
        wanted, found = (
            net(latents, torch.full((1,), 522.0), text, block_size=3)
            for net in (plain, student.transformer)
        )
    error = (found - wanted).norm() / wanted.norm()
    assert 0.001 < error < 0.1


def test_what_cannot_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 0))
    with pytest.raises(UserError, match="8.9 or later, and this one has 8.0"):
        hardware.known_precision("fp8", torch.device("cuda"), fp8=True)
    with pytest.raises(UserError, match="use one of auto, fp32, bf16$"):
        hardware.known_precision("fp8", torch.device("cpu"))
