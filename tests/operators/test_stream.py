"""Block by block an operator does what it does to the whole clip."""

import pytest
import torch

from lvis.errors import UserError
from lvis.operators import Downsampling, GaussianBlur, Inpainting, TemporalAverage, compose
from tests.operators.operators import OPERATORS, STREAMABLE, dense, over_streamable, video

FRAMES = 33
BLOCKS = [(9, 12, 12), (1, 2, 3, 4, 23), (33,)]


def stream(operator, x, blocks):
    """The measurements of the blocks, with the state before and after each."""
    state = None
    begin = 0
    for frames in blocks:
        part = x[:, :, begin : begin + frames]
        block, offset = operator.block(state, frames)
        yield block, offset, part, state
        state = operator.advance(state, part)
        begin += frames


def realised(name, shape):
    return OPERATORS[name]().realise((*shape[:2], 9, *shape[3:]), torch.Generator().manual_seed(7))


@over_streamable
@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_blocks_give_what_the_whole_clip_gives(name, blocks, dtype, bound):
    x = video(0, dtype, (2, 3, FRAMES, 4, 8))
    operator = realised(name, x.shape)
    parts = [block(part) + offset for block, offset, part, _ in stream(operator, x, blocks)]
    torch.testing.assert_close(torch.cat(parts, dim=2), operator(x), rtol=0, atol=bound)


@over_streamable
def test_a_block_has_its_own_prox(name):
    x = video(0, shape=(2, 1, 12, 4, 8))
    operator = realised(name, x.shape)
    *_, (block, offset, part, _) = stream(operator, x, (7, 5))
    y = block(part) + offset
    guess = video(1, shape=part.shape)
    answer = block.prox(guess, y - offset, 3.0).flatten(1)
    for sample, matrix in enumerate(dense(block, part.shape)):
        system = 3.0 * matrix.T @ matrix + torch.eye(matrix.shape[1], dtype=torch.float64)
        rhs = 3.0 * matrix.T @ (y - offset)[sample].flatten() + guess[sample].flatten()
        expected = torch.linalg.solve(system, rhs)
        torch.testing.assert_close(answer[sample], expected, rtol=0, atol=1e-5)


def test_the_causal_average_is_undone_block_by_block():
    x = video(0, shape=(1, 3, FRAMES, 4, 8))
    operator = TemporalAverage()
    y = operator(x)
    state, begin, restored = None, 0, []
    for frames in (9, 12, 12):
        block, offset = operator.block(state, frames)
        restored.append(block.pinv(y[:, :, begin : begin + frames] - offset))
        state = operator.advance(state, restored[-1])
        begin += frames
    torch.testing.assert_close(torch.cat(restored, dim=2), x, rtol=0, atol=1e-9)


def test_a_causal_average_reads_no_future_frame():
    x = video(0)
    changed = x.clone()
    changed[:, :, 5:] = 0
    operator = TemporalAverage()
    torch.testing.assert_close(operator(changed)[:, :, :5], operator(x)[:, :, :5], rtol=0, atol=0)


@over_streamable
def test_a_state_is_a_value(name):
    x = video(0, shape=(2, 3, 21, 4, 8))
    operator = realised(name, x.shape)
    first = operator.advance(None, x[:, :, :9])
    kept = operator.block(first, 12)[1].clone()
    operator.advance(first, x[:, :, 9:])
    x.zero_()
    torch.testing.assert_close(operator.block(first, 12)[1], kept, rtol=0, atol=0)
    assert first.frames == 9


def test_the_state_does_not_grow():
    operator = compose(GaussianBlur(), TemporalAverage())
    state = None
    for _ in range(30):
        state = operator.advance(state, torch.zeros(1, 3, 12, 8, 12))
    assert state.past.shape[2] == 6
    assert state.past.untyped_storage().nbytes() == state.past.numel() * 4


@pytest.mark.parametrize("border", ["circular", "replicate"])
@pytest.mark.parametrize("outer", [None, Downsampling(), Inpainting()])
def test_centred_averages_say_that_they_do_not_stream(border, outer):
    operator = TemporalAverage(border=border)
    operator = operator if outer is None else compose(outer, operator)
    assert not operator.streamable
    with pytest.raises(UserError, match=rf"border={border}.*border=causal"):
        operator.block(None, 9)
    with pytest.raises(UserError, match="border=causal"):
        operator.advance(None, torch.zeros(1, 3, 9, 8, 12))


def test_all_operators_that_treat_frames_alone_or_causally_stream():
    unstreamable = set(OPERATORS) - set(STREAMABLE)
    assert unstreamable == {
        "temporal_circular",
        "temporal_replicate",
        "deblur_plus_circular",
        "inpaint_plus_per_frame",
        "user",
    }


def test_gradients_reach_the_past():
    operator = TemporalAverage()
    past = video(0).requires_grad_()
    _, offset = operator.block(operator.advance(None, past), 12)
    offset.sum().backward()
    assert past.grad[:, :, -6:].abs().min() > 0
    assert past.grad[:, :, :3].abs().max() == 0
