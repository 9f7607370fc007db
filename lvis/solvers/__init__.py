"""Solvers: one file a method behind one stream interface (docs/architecture.md, "Solvers")."""

from lvis.solvers.avis import AVISSolver
from lvis.solvers.base import Solver, Stream
from lvis.solvers.blocks import BlockBuffer, block_frames, repeat_last
from lvis.solvers.correction import ProximalCorrection
from lvis.solvers.initial import InitialEstimate
from lvis.solvers.one_step import PARAMETRIZATIONS, student_prediction
from lvis.solvers.pinv import PinvSolver
from lvis.solvers.student import StudentSolver

__all__ = [
    "PARAMETRIZATIONS",
    "AVISSolver",
    "BlockBuffer",
    "InitialEstimate",
    "PinvSolver",
    "ProximalCorrection",
    "Solver",
    "Stream",
    "StudentSolver",
    "block_frames",
    "repeat_last",
    "student_prediction",
]
