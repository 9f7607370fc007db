"""Two textured planes, rendered by rays from any pose: the depth is exact, and the true new view exists.

A backdrop at depth 6 and a card at depth 3 that slides before it, in a world whose axes are the filming camera's. What
hits a pixel is found by intersecting its rays with the planes; nothing here knows how lvis.warp works but the pose's
meaning.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from lvis.data.dead_leaves import drop_leaves
from lvis.data.textures import draw_texture
from lvis.warp import Pinhole, Pose

TEXEL = 0.03  # world units; a pixel covers 0.054 at the backdrop
BACKDROP, CARD = 6.0, 3.0  # depths
CARD_SIDES = (1.5, 1.3)  # height, width
RAYS = 4  # a pixel's side


@dataclass(frozen=True)
class Plane:
    """A texture, float32 (h, w, 3) in [0, 255], at a depth, with its centre at `centre` (x, y)."""

    texture: np.ndarray
    depth: float
    centre: tuple[float, float]

    def hit(self, origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each ray (h, w, 3) its length to the plane, infinite where it misses, and the colour there."""
        length = (self.depth - origin[2]) / rays[..., 2]
        point = origin[:2] + length[..., None] * rays[..., :2]
        height, width = self.texture.shape[:2]
        texel = (point - np.array(self.centre)) / TEXEL + np.array([width - 1, height - 1]) / 2
        inside = (np.abs(texel * 2 - [width - 1, height - 1]) <= [width, height]).all(axis=-1)
        length = np.where(inside & (length > 0), length, np.inf)
        place = texel.astype(np.float32)
        colour = cv2.remap(
            self.texture, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        return length, colour


class Scene:
    """The planes of a seed; frame by frame the card moves to the right."""

    def __init__(self, seed: int, frames: int) -> None:
        rng = np.random.default_rng(seed)
        wide = int(16 / TEXEL)
        self.frames = frames
        self.backdrop = self._leaves(rng, (wide, wide))
        self.card = self._leaves(rng, tuple(int(side / TEXEL) for side in CARD_SIDES))

    def render(self, frame: int, camera: Pinhole, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """The picture, uint8 (H, W, 3), mean of 16 rays per pixel, and the depth of its central ray, (H, W)."""
        shift = (frame / (self.frames - 1) - 0.5) * 0.8
        planes = [
            Plane(self.backdrop, BACKDROP, (0.0, 0.0)),
            Plane(self.card, CARD, (shift, 0.1)),
        ]
        dense = Pinhole(camera.height * RAYS, camera.width * RAYS, camera.focal * RAYS)
        _, colours = self._cast(planes, dense.rays(), pose)
        picture = cv2.resize(colours, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
        # a ray has length 1 along the axis of the camera that sends it, so lengths are depths
        depth, _ = self._cast(planes, camera.rays(), pose)
        return np.clip(np.rint(picture), 0, 255).astype(np.uint8), depth

    @staticmethod
    def _cast(planes: list[Plane], rays: np.ndarray, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        rays = rays @ pose.rotation.T
        lengths, colours = zip(*(plane.hit(pose.position, rays) for plane in planes), strict=True)
        first = np.argmin(lengths, axis=0)
        chosen = np.where((first == 0)[..., None], colours[0], colours[1])
        return np.minimum(*lengths), chosen

    @staticmethod
    def _leaves(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        # leaves and textures of the validation's photographs, which the prior was not trained on
        canvas = draw_texture(rng, (size[0], size[1]), "val").astype(np.float32).copy()
        drop_leaves(rng, canvas, 1.0, 256, "val")
        return np.ascontiguousarray(canvas[..., :3])
