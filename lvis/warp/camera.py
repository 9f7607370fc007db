"""The pinhole camera, its pose, and the way it takes over a clip.

Axes are those of the camera that filmed: x to the right, y down, z forward, in the units of the depth. Pixel centres
are at whole numbers, (0, 0) at the upper left.
"""

import math
from dataclasses import dataclass

import numpy as np

from lvis.errors import UserError


@dataclass(frozen=True)
class Pinhole:
    """A camera without distortion whose optical axis goes through the picture's centre.

    `height`, `width` and `focal` (the focal length) are in pixels.

    Raises:
        UserError: a focal length that is not above 0.
    """

    height: int
    width: int
    focal: float

    def __post_init__(self) -> None:
        if not 0 < self.focal < math.inf:
            raise UserError(
                f"camera.focal={self.focal} is not a focal length; give pixels, above 0"
            )

    @classmethod
    def with_field_of_view(cls, height: int, width: int, degrees: float) -> "Pinhole":
        """The camera whose picture has this width in degrees.

        Raises:
            UserError: an angle outside (0, 180).
        """
        if not 0 < degrees < 180:
            raise UserError(
                f"camera.fov={degrees} is not a field of view; give degrees in (0, 180)"
            )
        return cls(height, width, width / 2 / math.tan(math.radians(degrees) / 2))

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of the optical axis, in pixels."""
        return (self.width - 1) / 2, (self.height - 1) / 2

    def rays(self) -> np.ndarray:
        """The points that the pixels see at depth 1, float64 (H, W, 3)."""
        columns = (np.arange(self.width) - self.centre[0]) / self.focal
        rows = (np.arange(self.height) - self.centre[1]) / self.focal
        x, y = np.meshgrid(columns, rows)
        return np.stack([x, y, np.ones_like(x)], axis=-1)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points in this camera's axes (..., 3), z not 0 -> pixel positions (..., 2), x before y."""
        return self.focal * points[..., :2] / points[..., 2:] + np.array(self.centre)


@dataclass(frozen=True)
class Pose:
    """Where the new camera stands, in the axes of the one that filmed.

    `rotation` (3, 3) has the new camera's axes as its columns; `position` (3,) is its centre.
    """

    rotation: np.ndarray
    position: np.ndarray

    def view(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) from the axes of the camera that filmed to those of the new one."""
        return (points - self.position) @ self.rotation


@dataclass(frozen=True)
class Trajectory:
    """A camera that leaves the one that filmed and reaches its own pose after `frames` frames (0: is there at once).

    Args:
        yaw, pitch: degrees to the right and upwards.
        translate: right, down, forward, in the units of the depth.
        orbit: turn about the point at this depth on the optical axis rather than about the camera itself, so that what
            is there stays in the middle: AVIS, appendix A.2, has orbit-left and orbit-down.

    Raises:
        UserError: a pitch or yaw that turns away by 90 degrees or more, an orbit or frames below 0.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    translate: tuple[float, float, float] = (0.0, 0.0, 0.0)
    orbit: float | None = None
    frames: int = 0

    def __post_init__(self) -> None:
        for name in ("yaw", "pitch"):
            if not abs(getattr(self, name)) < 90:
                raise UserError(
                    f"camera.{name}={getattr(self, name)} turns away from everything that was filmed; "
                    "give degrees in (-90, 90)"
                )
        if self.orbit is not None and not 0 < self.orbit < math.inf:
            raise UserError(
                f"camera.orbit={self.orbit} is not a depth; give the depth of the point to turn "
                "about, above 0, or null"
            )
        if self.frames < 0:
            raise UserError(f"camera.frames={self.frames} is negative; use 0 or more")

    def pose(self, frame: int) -> Pose:
        """The pose at this frame of the clip, the first being 0."""
        share = min(1.0, frame / self.frames) if self.frames else 1.0
        yaw, pitch = math.radians(share * self.yaw), math.radians(share * self.pitch)
        cos, sin = math.cos(yaw), math.sin(yaw)
        turned = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        cos, sin = math.cos(pitch), math.sin(pitch)
        rotation = turned @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
        pivot = np.array([0.0, 0.0, self.orbit or 0.0])
        return Pose(rotation, pivot - rotation @ pivot + share * np.array(self.translate))
