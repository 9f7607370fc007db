"""A clip seen by another camera: geometry only, from frames and depth to warped frames and what of them is known."""

from lvis.warp.backward import backward_warp
from lvis.warp.camera import Pinhole, Pose, Trajectory
from lvis.warp.forward import forward_warp
from lvis.warp.sampling import HOLE, View

__all__ = ["HOLE", "Pinhole", "Pose", "Trajectory", "View", "backward_warp", "forward_warp"]
