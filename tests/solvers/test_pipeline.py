"""A pipelined stream's answer is the plain one's, a block later; its stages wait for what they need."""

from contextlib import contextmanager

import pytest
import torch

from lvis.errors import UserError
from lvis.operators import Downsampling, GaussianBlur, Inpainting, TemporalAverage, compose
from lvis.solvers.base import STAGES
from lvis.solvers.pipeline import CudaStages

SIZE = (24, 40)


def video(frames):
    generator = torch.Generator().manual_seed(7)
    return torch.rand(1, 3, frames, *SIZE, generator=generator) * 2 - 1


class Device:
    """Stands for a CUDA device, where there is none: every operation goes into a log, and an event
    knows how long the log was when it was recorded."""

    def __init__(self):
        self.log, self.using = [], ["caller"]
        self.kept = []

    def lane(self, name):
        device = self

        class Lane:
            def wait_event(self, event):
                device.log.append((name, "waits for", event.lane))

            def synchronize(self):
                device.log.append(("host", "waits for", name))

            def __repr__(self):
                return name

        return Lane()

    def event(self):
        device = self

        class Event:
            def record(self, lane):
                self.lane, self.time = str(lane), len(device.log)

            def query(self):
                return True

            def synchronize(self):
                device.log.append(("host", "waits for", self.lane))

            def elapsed_time(self, ended):
                return 1000.0 * (1 + ended.time - self.time)

        return Event()

    def stages(self):
        lanes = {name: self.lane(name) for name in ("encode", "transformer", "decode")}
        caller = self.lane("caller")
        inside = [caller]
        kept = self.kept

        @contextmanager
        def use(lane):
            inside.append(lane)
            yield
            inside.pop()

        class Stages(CudaStages):
            def keep(self, tensor, lane):
                kept.append(str(lane))

        return Stages(lanes, self.event, lambda: inside[-1], use)


def open_pipelined(solver, operator, device=None):
    stream = solver.open(operator, SIZE)
    if device is not None:
        stream._stages = device.stages()
    return stream


@pytest.mark.parametrize("on_lanes", [False, True])
@pytest.mark.parametrize(("frames", "push"), [(5, 4), (9, 9), (22, 5), (34, 40)])
@pytest.mark.parametrize(
    "operator",
    [compose(Downsampling(4), TemporalAverage(3)), GaussianBlur(size=9, sigma=1.0)],
    ids=["sr_temporal", "blur"],
)
def test_the_blocks_are_those_of_a_plain_stream_one_block_later(
    tiny_student, operator, frames, push, on_lanes
):
    measurement = operator(video(frames))
    pushes = measurement.split(push, dim=2)
    with tiny_student().open(operator, SIZE) as plain:
        expected, counts = [], []
        for part in pushes:
            expected += plain.push(part)
            counts.append(len(expected))
        expected += plain.finish()
    device = Device() if on_lanes else None
    with open_pipelined(tiny_student(pipeline=True), operator, device) as stream:
        found = []
        for part, count in zip(pushes, counts, strict=True):
            found += stream.push(part)
            assert len(found) == max(0, count - 1)
        found += stream.finish()
    assert len(found) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert stream.frames == sum(block.shape[2] for block in found) == frames
    assert stream.time_to_first_frame > 0
    assert all(stream.timings[stage] > 0 for stage in STAGES)


def test_no_stage_waits_for_another_block_and_the_host_for_old_ones_only(tiny_student):
    operator = Inpainting(0.5).realise((1, 3, 1, *SIZE), torch.Generator().manual_seed(0))
    device = Device()
    clean = video(57)
    with open_pipelined(tiny_student(pipeline=True), operator, device) as stream:
        stream.push(
            operator(clean)[:, :, :45]
        )  # two blocks that run alone, and two that are queued
        device.log.clear()
        device.kept.clear()
        stream.push(operator(clean)[:, :, 45:])
    between = [entry for entry in device.log if entry[0] != entry[2]]
    # the host waits for the third block before it queues the fifth, and for nothing else
    assert between[:4] == [
        ("host", "waits for", "decode"),
        ("encode", "waits for", "caller"),
        ("transformer", "waits for", "encode"),
        ("decode", "waits for", "transformer"),
    ]
    assert between[4] == ("caller", "waits for", "decode")
    # each tensor that crosses from one stage to the next, once
    assert device.kept == ["encode", "transformer", "decode", "caller"]


def test_an_answer_that_comes_at_the_end_is_not_held_back(tiny_student):
    operator = TemporalAverage(3, border="circular")
    answers = []
    for pipeline in (False, True):
        with tiny_student(input="pinv", pipeline=pipeline).open(operator, SIZE) as stream:
            assert stream.push(operator(video(21))) == []
            answers.append(torch.cat(stream.finish(), dim=2))
    assert torch.equal(*answers)


@pytest.mark.gpu
def test_on_cuda_the_blocks_are_those_of_a_plain_stream(tiny_student):
    operator = GaussianBlur(size=9, sigma=1.0)
    measurement = operator(video(57)).cuda()
    answers = []
    for pipeline in (False, True):
        solver = tiny_student(pipeline=pipeline)
        solver.transformer.cuda()
        solver.vae.cuda()
        solver.device = solver.transformer.device
        with solver.open(operator, SIZE) as stream:
            parts = [x for part in measurement.split(12, dim=2) for x in stream.push(part)]
            answers.append(torch.cat([*parts, *stream.finish()], dim=2).cpu())
        assert stream.timings["decode"] > 0
    torch.testing.assert_close(*answers, atol=1e-3, rtol=0)


def test_a_pipeline_that_is_no_switch_is_refused(tiny_student):
    with pytest.raises(UserError, match="pipeline=fast"):
        tiny_student(pipeline="fast")
