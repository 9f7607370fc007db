"""A clip seen by another camera: geometry only, from frames and depth to warped frames and what of them is known."""

from lvis.data.novel_views.backward import backward_warp
from lvis.data.novel_views.camera import Pinhole, Pose, Trajectory
from lvis.data.novel_views.forward import forward_warp
from lvis.data.novel_views.sampling import HOLE, View

__all__ = ["HOLE", "Pinhole", "Pose", "Trajectory", "View", "backward_warp", "forward_warp"]
