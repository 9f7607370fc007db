"""Solvers: one file a method behind one stream interface (docs/architecture.md, "Solvers")."""

from lvis.solvers.base import Solver, Stream
from lvis.solvers.blocks import BlockBuffer, block_frames, repeat_last
from lvis.solvers.one_step import PARAMETRIZATIONS, student_prediction
from lvis.solvers.pinv import PinvSolver
from lvis.solvers.student import StudentSolver

__all__ = [
    "PARAMETRIZATIONS",
    "BlockBuffer",
    "PinvSolver",
    "Solver",
    "Stream",
    "StudentSolver",
    "block_frames",
    "repeat_last",
    "student_prediction",
]
