"""What makes a run faster changes no number: compilation, the attention's backend."""

from types import SimpleNamespace

import pytest
import torch

from lvis.backbone import WanTransformer
from lvis.backbone.attention import attend_all
from lvis.benchmark.build import attention_backend, compile_step
from lvis.errors import UserError

CPU = torch.device("cpu")
BLOCKS = torch.randn(24, 1, 16, 3, 4, 4, generator=torch.Generator().manual_seed(1))
LAYERS = 4


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    transformer = WanTransformer(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=LAYERS,
        ffn_dim=32,
        text_dim=8,
        text_len=4,
        freq_dim=16,
    )
    transformer.reset_parameters()
    torch.nn.init.normal_(transformer.net.proj_out.weight, std=0.1)
    return transformer.eval()


@torch.inference_mode()
def steps(transformer, cache, blocks):
    return [transformer.step(block, torch.full((1,), 522.0), cache) for block in blocks]


def opened(transformer, sink=0):
    return transformer.open_cache(1, (4, 4), torch.ones(1, 4, 8), window=9, sink=sink)


@pytest.mark.parametrize("sink", [0, 3])
def test_a_compiled_step_is_the_same_and_one_graph_for_all_blocks(transformer, sink):
    expected = steps(transformer, opened(transformer, sink), BLOCKS)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compile_step(SimpleNamespace(transformer=transformer), "default", backend="eager")
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        found = steps(transformer, opened(transformer, sink), BLOCKS)
        # another stream, and a last block that is short
        cache = opened(transformer, sink)
        again = steps(transformer, cache, BLOCKS)
        short = steps(transformer, cache, BLOCKS[:1, :, :, :2])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not torch._dynamo.utils.counters["graph_break"]
    assert short[0].shape[2] == 2
    for one, other, third in zip(found, expected, again, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
        assert torch.equal(one, third)


@pytest.mark.slow
def test_a_step_compiled_by_inductor_is_one_graph_too(transformer):
    expected = steps(transformer, opened(transformer), BLOCKS)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compile_step(SimpleNamespace(transformer=transformer), "default")
    found = steps(transformer, opened(transformer), BLOCKS)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("backend", ["math", "flash"])
def test_every_attention_gives_the_same(transformer, backend):
    expected = steps(transformer, opened(transformer), BLOCKS[:4])
    with attention_backend(backend, CPU):
        found = steps(transformer, opened(transformer), BLOCKS[:4])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("backend", ["cudnn", "efficient"])
def test_a_backend_of_another_device_is_one_sentence(backend):
    with (
        pytest.raises(UserError, match=f"optimise.attention={backend} needs a CUDA device"),
        attention_backend(backend, CPU),
    ):
        pass


@pytest.mark.filterwarnings("ignore:Flash attention")  # torch's own reasons
def test_a_backend_without_a_kernel_for_the_sizes_is_one_sentence():
    query, value = torch.ones(1, 4, 2, 8), torch.ones(1, 4, 2, 6)
    with (
        pytest.raises(UserError, match="optimise.attention=flash has no kernel"),
        attention_backend("flash", CPU),
    ):
        attend_all(query, query, value)
