"""What an evaluation takes down beside the video: passes and memory."""

import torch

from lvis.evaluate.methods import solve
from lvis.operators import Downsampling
from lvis.solvers.admm_tv import ADMMTVSolver
from lvis.solvers.pinv import PinvSolver
from lvis.solvers.whole_clip import WholeClipStream

FRAMES, SIDE = 9, 32


class Wasteful(PinvSolver):
    """Takes 256 MB while it restores, and two passes through a network a frame."""

    def stream_type(self, operator):
        return WastefulStream


class WastefulStream(WholeClipStream):
    def restore_clip(self, measurement):
        taken = torch.ones(2**26)
        self.count_passes({"image_prior": 2 * measurement.shape[2]}, measurement.shape[2])
        return self.operator.pinv(measurement) * taken[0]


def test_memory_and_passes_of_one_solver_are_its_own():
    operator = Downsampling(4)
    y = operator(torch.zeros(1, 3, FRAMES, SIDE, SIDE))
    wasteful = solve(Wasteful(), operator, y, (SIDE, SIDE), seed=0)
    assert wasteful.passes == {"image_prior": 2}
    assert wasteful.peak_memory is None and wasteful.memory_growth > 0.9 * 2**28
    # what the one before has freed is not held against, nor hides, the next one's
    for _ in range(2):
        modest = solve(ADMMTVSolver(), operator, y, (SIDE, SIDE), seed=0)
        assert modest.memory_growth < 2**26 and modest.passes == {}
    again = solve(Wasteful(), operator, y, (SIDE, SIDE), seed=0)
    assert again.memory_growth > 0.9 * 2**28
