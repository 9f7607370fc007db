import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import create_mask

from lvis.backbone import BlockCausal
from lvis.backbone.attention import attend_blocks, attend_flex, flex_mask
from lvis.errors import UserError

PATTERNS = [
    BlockCausal(3),
    BlockCausal(3, window=6),
    BlockCausal(3, window=9, sink=3),
    BlockCausal(2, window=7, sink=2),
    BlockCausal(4, window=6, sink=1),
]


def dense_mask(pattern, num_frames, tokens_per_frame):
    """The rule, frame by frame, as a boolean N x N matrix."""
    allowed = torch.zeros(num_frames, num_frames, dtype=torch.bool)
    for query in range(num_frames):
        end = min((query // pattern.block_size + 1) * pattern.block_size, num_frames)
        window = num_frames if pattern.window is None else pattern.window
        recent = end - (window - pattern.sink)
        for key in range(end):
            allowed[query, key] = key >= recent or key < pattern.sink
    return allowed.repeat_interleave(tokens_per_frame, 0).repeat_interleave(tokens_per_frame, 1)


def heads_and_expectation(pattern, num_frames, tokens_per_frame):
    generator = torch.Generator().manual_seed(0)
    shape = (2, num_frames * tokens_per_frame, 2, 16)
    query, key, value = (torch.randn(shape, generator=generator) for _ in range(3))
    expected = F.scaled_dot_product_attention(
        *(heads.transpose(1, 2) for heads in (query, key, value)),
        attn_mask=dense_mask(pattern, num_frames, tokens_per_frame),
    )
    return query, key, value, expected.transpose(1, 2)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("tokens_per_frame", [5, 128])
def test_attention_by_blocks_is_masked_attention(pattern, tokens_per_frame):
    *heads, expected = heads_and_expectation(pattern, 10, tokens_per_frame)
    attended = attend_blocks(*heads, pattern, 10, tokens_per_frame)
    torch.testing.assert_close(attended, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("tokens_per_frame", [5, 128])
def test_the_mask_of_flex_attention_is_the_rule(pattern, tokens_per_frame):
    expected = dense_mask(pattern, 10, tokens_per_frame)
    length = 10 * tokens_per_frame
    mask = flex_mask(pattern, 10, tokens_per_frame, torch.device("cpu"))
    rule = create_mask(mask.mask_mod, None, None, length, length, device="cpu")
    assert torch.equal(rule[0, 0], expected)
    # tiles that the mask skips hold nothing that the rule allows
    visited = mask.to_dense()[0, 0].bool()
    rows, columns = expected.nonzero().unbind(1)
    assert visited[rows // 128, columns // 128].all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_is_masked_attention():
    pattern = PATTERNS[3]
    *heads, expected = heads_and_expectation(pattern, 10, 5)
    attended = attend_flex(*heads, pattern, 10, 5, compiled=False)
    torch.testing.assert_close(attended, expected, rtol=0, atol=1e-5)


@pytest.mark.gpu
def test_compiled_flex_attention_is_masked_attention():
    pattern = PATTERNS[2]
    *heads, expected = heads_and_expectation(pattern, 10, 96)
    on_device = [tensor.cuda() for tensor in heads]
    attended = attend_flex(*on_device, pattern, 10, 96).cpu()
    torch.testing.assert_close(attended, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("wrong", [{"block_size": 0}, {"sink": -1}, {"window": 4, "sink": 2}])
def test_a_pattern_that_cannot_be_is_refused(wrong):
    with pytest.raises(UserError, match="at least"):
        BlockCausal(**wrong)
