"""Frames are cut into 9, 12, 12, ... whatever they come in."""

import pytest
import torch

from lvis.solvers import BlockBuffer, block_frames, repeat_last


@pytest.mark.parametrize("push", [1, 5, 7, 12, 40])
def test_blocks_are_9_then_12_frames_and_keep_every_frame_in_order(push):
    clip = torch.arange(40.0).view(1, 1, 40, 1, 1)
    buffer = BlockBuffer(*block_frames(3))
    blocks = [block for part in clip.split(push, dim=2) for block in buffer.push(part)]
    assert [block.shape[2] for block in blocks] == [9, 12, 12]
    assert len(buffer) == 7
    assert torch.equal(torch.cat([*blocks, buffer.flush()], dim=2), clip)
    assert len(buffer) == 0


def test_a_block_of_one_latent_frame_is_1_then_4_video_frames():
    assert block_frames(1) == (1, 4)


def test_repeat_last_continues_with_the_last_frame():
    clip = torch.arange(3.0).view(1, 1, 3, 1, 1)
    assert repeat_last(clip, 5).flatten().tolist() == [0, 1, 2, 2, 2]
    assert repeat_last(clip, 3) is not clip
    assert repeat_last(clip, 3).flatten().tolist() == [0, 1, 2]
