"""A stream's answer is that of the clip: any pushes, any length, any size."""

import pytest
import torch

from lvis.errors import UserError
from lvis.operators import Downsampling, GaussianBlur, Inpainting, TemporalAverage, compose
from lvis.solvers import PinvSolver, StudentSolver
from lvis.solvers.base import STAGES, pad_to

SIZE = (24, 40)  # neither side is a multiple of 16


def video(frames: int, size: tuple[int, int] = SIZE, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.rand(batch, 3, frames, *size, generator=generator) * 2 - 1


def restore(solver, operator, measurement, push, size=SIZE, **more):
    with solver.open(operator, size, **more) as stream:
        parts = [x for part in measurement.split(push, dim=2) for x in stream.push(part)]
        parts += stream.finish()
    return torch.cat(parts, dim=2), stream


@pytest.fixture(params=["pinv", "student", "student_pinv"], scope="module")
def solver(request, tiny_student):
    if request.param == "pinv":
        return PinvSolver()
    return tiny_student(x_init="pinv" if request.param == "student_pinv" else "lift")


@pytest.mark.parametrize("push", [1, 5, 7])
def test_the_answer_does_not_depend_on_the_pushes(solver, push):
    operator = compose(Downsampling(4), TemporalAverage(3))
    measurement = operator(video(26))
    whole, _ = restore(solver, operator, measurement, 26)
    pushed, _ = restore(solver, operator, measurement, push)
    assert whole.shape == (1, 3, 26, *SIZE)
    torch.testing.assert_close(pushed, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("frames", [1, 2, 8, 9, 10, 21, 22, 30])
def test_a_clip_of_any_length_gives_as_many_frames(solver, frames):
    measurement = GaussianBlur(size=9, sigma=1.0)(video(frames))
    restored, stream = restore(solver, GaussianBlur(size=9, sigma=1.0), measurement, 4)
    assert restored.shape[2] == stream.frames == frames
    assert restored.min() >= -1 and restored.max() <= 1


def test_frames_do_not_depend_on_how_the_clip_goes_on(solver):
    measurement = GaussianBlur(size=9, sigma=1.0)(video(25))
    longer, _ = restore(solver, GaussianBlur(size=9, sigma=1.0), measurement, 25)
    shorter, _ = restore(solver, GaussianBlur(size=9, sigma=1.0), measurement[:, :, :21], 21)
    torch.testing.assert_close(longer[:, :, :21], shorter, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(16, 32), (20, 36), (4, 60)])
def test_sizes_off_the_stride_are_padded_and_cropped_back(solver, size):
    operator = Downsampling(4)
    restored, _ = restore(solver, operator, operator(video(10, size)), 10, size=size)
    assert restored.shape == (1, 3, 10, *size)


def test_timings_are_there_once_something_is_restored(solver):
    operator = GaussianBlur(size=9, sigma=1.0)
    with solver.open(operator, SIZE) as stream:
        stream.push(video(8))
        assert stream.time_to_first_frame is None
        stream.push(video(1))
        assert stream.time_to_first_frame > 0
    assert tuple(stream.timings) == STAGES
    used = STAGES if isinstance(solver, StudentSolver) else ("operator",)
    assert all(stream.timings[stage] > 0 for stage in used)


def test_two_streams_of_one_solver_do_not_disturb_each_other(solver):
    operator = TemporalAverage(3)
    first, second = operator(video(21)), operator(video(21).flip(2))
    alone, _ = restore(solver, operator, first, 21)
    with solver.open(operator, SIZE) as one, solver.open(operator, SIZE) as other:
        parts = []
        for a, b in zip(first.split(3, dim=2), second.split(3, dim=2), strict=True):
            parts += one.push(a)
            other.push(b)
        parts += one.finish()
    torch.testing.assert_close(torch.cat(parts, dim=2), alone, atol=1e-6, rtol=0)


def test_a_batch_is_restored_sample_by_sample(solver):
    operator = GaussianBlur(size=9, sigma=1.0)
    measurement = operator(video(9, batch=2))
    both, _ = restore(solver, operator, measurement, 9, batch=2)
    second, _ = restore(solver, operator, measurement[1:], 9)
    torch.testing.assert_close(both[1:], second, atol=1e-5, rtol=0)


def test_a_measurement_of_another_size_is_refused(solver):
    with solver.open(Downsampling(4), SIZE) as stream, pytest.raises(UserError, match="40x24"):
        stream.push(video(3))


def test_pinv_recovers_what_a_causal_average_blurred_across_blocks():
    clean = video(33)
    operator = TemporalAverage(7)
    restored, _ = restore(PinvSolver(), operator, operator(clean), 5)
    torch.testing.assert_close(restored, clean, atol=1e-3, rtol=0)


def test_pinv_of_a_circular_average_waits_for_the_whole_clip():
    clean = video(33)
    operator = TemporalAverage(7, border="circular")
    with PinvSolver().open(operator, SIZE) as stream:
        assert stream.push(operator(clean)) == []
        restored = torch.cat(stream.finish(), dim=2)
    torch.testing.assert_close(restored, clean, atol=1e-3, rtol=0)


@pytest.mark.parametrize("frames", [5, 21, 26])
def test_a_student_on_the_inverse_of_a_circular_average_answers_at_the_end(frames, tiny_student):
    operator = TemporalAverage(3, border="circular")
    restored, _ = restore(tiny_student(x_init="pinv"), operator, operator(video(frames)), 4)
    assert restored.shape[2] == frames


def test_a_mask_a_frame_is_read_to_its_end_and_no_further(tiny_student):
    clean = video(14)
    mask = torch.rand(14, *SIZE, generator=torch.Generator().manual_seed(3)) > 0.5
    operator = Inpainting(mask=mask)
    restored, _ = restore(PinvSolver(), operator, operator(clean), 4)
    torch.testing.assert_close(restored, operator(clean))
    restore(tiny_student(), operator, operator(clean), 4)


def test_pad_to_mirrors_and_repeats_where_there_is_too_little_to_mirror():
    line = torch.arange(3.0).view(1, 1, 1, 1, 3)
    assert pad_to(line, (1, 5)).flatten().tolist() == [0, 1, 2, 1, 0]
    assert pad_to(line[..., :1], (1, 3)).flatten().tolist() == [0, 0, 0]
    assert pad_to(line, (2, 3)).shape == (1, 1, 1, 2, 3)
