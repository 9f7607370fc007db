import json

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lvis.errors import UserError

TOLERANCE = {"rtol": 0, "atol": 1e-5}
PATTERNS = [(3, None, 0), (3, 6, 0), (3, 9, 3), (2, 7, 2), (3, 8, 4), (1, 2, 1)]


def stream(transformer, latents, timestep, cache):
    """Velocity of the latents, block by block, every block committed."""
    blocks = latents.split(cache.pattern.block_size, dim=2)
    return torch.cat([transformer.step(block, timestep, cache) for block in blocks], dim=2)


class Allocated(TorchDispatchMode):
    """Counts the operations and the bytes that they allocate."""

    def __init__(self):
        super().__init__()
        self.operations = 0
        self.nbytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = {
            tensor.untyped_storage().data_ptr()
            for tensor in args
            if isinstance(tensor, torch.Tensor)
        }
        made = function(*args, **(kwargs or {}))
        self.operations += 1
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.nbytes += storage.nbytes() * (storage.data_ptr() not in given)
        return made


def test_streaming_with_window_and_sink_is_the_reference(golden):
    transformer, tensors, metadata = golden("causal_wan_sink")
    latents = tensors["latents"]
    cache = transformer.open_cache(
        1,
        tuple(latents.shape[3:]),
        tensors["text"],
        block_size=int(metadata["frames_per_block"]),
        window=int(metadata["local_attn_size"]),
        sink=int(metadata["sink_size"]),
    )
    for index, block in enumerate(latents.split(3, dim=2)):
        for timestep in json.loads(metadata["timesteps"]):
            velocity = transformer.step(
                block, torch.tensor([float(timestep)]), cache, commit=timestep == 0
            )
            expected = tensors[f"flow.block{index}.t{timestep}"]
            torch.testing.assert_close(velocity, expected, **TOLERANCE)


@pytest.mark.parametrize(("block_size", "window", "sink"), PATTERNS)
def test_the_masked_pass_is_the_stream(transformer, draw_latents, text, block_size, window, sink):
    latents = draw_latents(15)
    timestep = torch.tensor([522.0, 30.0])
    cache = transformer.open_cache(2, (4, 6), text, block_size, window or 15, sink)
    with torch.no_grad():
        masked = transformer(latents, timestep, text, block_size, window, sink)
    streamed = stream(transformer, latents, timestep, cache)
    torch.testing.assert_close(masked, streamed, **TOLERANCE)


def test_the_masked_pass_is_the_stream_at_128_tokens_a_frame(transformer, draw_latents, text):
    latents = draw_latents(6, height=16, width=32)
    timestep = torch.tensor([522.0, 30.0])
    with torch.no_grad():
        masked = transformer(latents, timestep, text, block_size=3)
    cache = transformer.open_cache(2, (16, 32), text, window=6)
    torch.testing.assert_close(masked, stream(transformer, latents, timestep, cache), **TOLERANCE)


def test_window_and_sink_matter(transformer, draw_latents, text):
    latents, timestep = draw_latents(15), torch.tensor([522.0, 30.0])
    with torch.no_grad():
        passes = [
            transformer(latents, timestep, text, 3, window, sink)
            for window, sink in ((None, 0), (9, 0), (9, 3))
        ]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert torch.equal(passes[first][:, :, :9], passes[second][:, :, :9])
        assert not torch.allclose(passes[first], passes[second], atol=1e-3)


def test_the_text_of_one_serves_the_batch(transformer, draw_latents, text):
    latents, timestep = draw_latents(3), torch.tensor([522.0, 30.0])
    one = transformer.open_cache(2, (4, 6), text[:1])
    both = transformer.open_cache(2, (4, 6), text[:1].expand(2, -1, -1))
    velocities = [transformer.step(latents, timestep, cache) for cache in (one, both)]
    torch.testing.assert_close(*velocities, **TOLERANCE)


@pytest.mark.parametrize("committed", [0, 1, 2, 5])
def test_without_commit_the_past_stays(transformer, draw_latents, text, committed):
    latents, timestep = draw_latents(3 * committed + 3), torch.tensor([522.0, 30.0])
    tried = transformer.open_cache(2, (4, 6), text, window=9, sink=3)
    plain = transformer.open_cache(2, (4, 6), text, window=9, sink=3)
    for block in latents.split(3, dim=2)[:committed]:
        for cache in (tried, plain):
            transformer.step(block, timestep, cache)
    for seed in (7, 8):
        transformer.step(draw_latents(3, seed=seed), timestep * 0.5, tried, commit=False)
    assert tried.frames == plain.frames == 3 * committed
    # the slots of the frames that leave with this block are nobody's past
    leaving = [target for _, target in plain.runs(3)]
    for before, after in ((plain.keys, tried.keys), (plain.values, tried.values)):
        for target in leaving:
            before[:, :, target] = after[:, :, target] = 0
        assert torch.equal(before, after)
    last = latents[:, :, -3:]
    assert torch.equal(
        transformer.step(last, timestep, tried), transformer.step(last, timestep, plain)
    )


def test_two_streams_share_a_transformer(transformer, draw_latents, text):
    timestep = torch.tensor([522.0, 30.0])
    left, right = draw_latents(9, seed=3), draw_latents(9, seed=4)
    caches = [transformer.open_cache(2, (4, 6), text) for _ in range(2)]
    alone = stream(transformer, left, timestep, transformer.open_cache(2, (4, 6), text))
    turns = []
    for mine, other in zip(left.split(3, dim=2), right.split(3, dim=2), strict=True):
        turns.append(transformer.step(mine, timestep, caches[0]))
        transformer.step(other, timestep, caches[1])
    assert torch.equal(torch.cat(turns, dim=2), alone)


@pytest.mark.parametrize(("window", "sink"), [(9, 0), (9, 3)])
def test_the_10000th_block_costs_what_the_10th_did(transformer, draw_latents, text, window, sink):
    timestep = torch.tensor([522.0, 30.0])
    cache = transformer.open_cache(2, (4, 6), text, window=window, sink=sink)
    opened = cache.nbytes
    storages = {tensor.data_ptr() for tensor in (cache.keys, cache.values)}
    stream(transformer, draw_latents(27), timestep, cache)

    def cost():
        with Allocated() as allocated:
            velocity = transformer.step(draw_latents(3), timestep, cache)
        assert velocity.isfinite().all()
        return allocated.operations, allocated.nbytes, cache.attended_tokens

    tenth = cost()
    cache.frames = 9_999 * 3
    assert cost() == tenth
    assert tenth[1] > 0 and tenth[2] == window * 6
    assert cache.nbytes == opened
    assert storages == {tensor.data_ptr() for tensor in (cache.keys, cache.values)}


def test_positions_never_run_out_and_the_window_slides_exactly(
    make_transformer, draw_latents, text
):
    # with one layer a block depends on the window alone, so where the stream stands must not show
    transformer = make_transformer(num_layers=1)
    latents, timestep = draw_latents(9), torch.tensor([522.0, 30.0])
    early = transformer.open_cache(2, (4, 6), text, window=9)
    expected = stream(transformer, latents, timestep, early)
    for frames in (9, 9_999 * 3, 3_000_000 * 3):
        late = transformer.open_cache(2, (4, 6), text, window=9)
        late.frames = frames
        streamed = stream(transformer, latents, timestep, late)
        torch.testing.assert_close(streamed[:, :, 6:], expected[:, :, 6:], **TOLERANCE)


def test_a_cache_in_bfloat16_takes_half_the_memory(transformer, draw_latents, text):
    latents, timestep = draw_latents(9), torch.tensor([522.0, 30.0])
    full = transformer.open_cache(2, (4, 6), text)
    half = transformer.open_cache(2, (4, 6), text, dtype=torch.bfloat16)
    assert 2 * half.nbytes == full.nbytes
    expected = stream(transformer, latents, timestep, full)
    streamed = stream(transformer, latents, timestep, half)
    assert (streamed - expected).abs().mean() < 0.02 * expected.abs().mean()


def test_a_block_of_another_size_is_refused(transformer, draw_latents, text):
    timestep = torch.tensor([522.0, 30.0])
    cache = transformer.open_cache(2, (4, 6), text)
    with pytest.raises(UserError, match="does not fit a cache of batch 2"):
        transformer.step(draw_latents(4), timestep, cache)
    with pytest.raises(UserError, match="does not fit"):
        transformer.step(draw_latents(3, height=8), timestep, cache)
    with pytest.raises(UserError, match="window=2 cannot hold"):
        transformer.open_cache(2, (4, 6), text, window=2)
