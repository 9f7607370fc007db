"""Forward splatting with a z-buffer: every pixel of a frame, lifted by its depth, is a patch of surface that the new
camera may see.

A patch covers the bounding box, at most `LARGEST` pixels per side, of what its pixel becomes in the new view, and there
are holes exactly where no patch falls. The colour of a place is read from the frame where the patch in front there has
it, between pixels of the same surface only: as sharp as one bilinear interpolation leaves it, and with nothing mixed in
from an edge's other side.
"""

import numpy as np

from lvis.warp.camera import Pinhole, Pose
from lvis.warp.sampling import View, around, sample, view_of

LARGEST = (
    16  # pixels per side of a patch: beyond that, one pixel says too little about what it covers
)
ROUNDING = 1e-6  # pixels, so that patches that touch leave no crack


def forward_warp(
    frame: np.ndarray, depth: np.ndarray, camera: Pinhole, pose: Pose, jump: float = 0.05
) -> View:
    """What the new camera sees of what a frame shows (AVIS, appendix A.2).

    Args:
        frame: uint8 (H, W, 3).
        depth: (H, W), along the optical axis, above 0; a pixel whose depth is not finite or not above 0 is left out.
        camera: of both views.
        pose: of the new view.
        jump: neighbours whose depths differ by more than this share of the nearer one belong to two surfaces.
    """
    depth = depth.astype(np.float64)
    known = np.isfinite(depth) & (depth > 0)
    depth = np.where(known, depth, 1.0)
    points = pose.view(camera.rays() * depth[..., None])
    ahead = known & (points[..., 2] > 1e-3 * depth)
    points = np.where(ahead[..., None], points, 1.0)
    places = camera.project(points)
    slopes, reach = _extent(places, points, depth, ahead, camera, pose, jump)
    # a surface that turned its back was not filmed from this side
    ahead &= slopes[..., 0, 0] * slopes[..., 1, 1] > slopes[..., 0, 1] * slopes[..., 1, 0]
    chosen = np.flatnonzero(ahead)
    winner = _nearest(
        places.reshape(-1, 2)[chosen],
        reach.reshape(-1, 2)[chosen],
        points[..., 2].ravel()[chosen],
        chosen,
        (camera.height, camera.width),
    )
    observed = winner >= 0
    warped = np.zeros_like(frame)
    warped[observed] = _colours(frame, depth, known, places, slopes, winner, jump)
    return view_of(warped, observed)


def _extent(
    places: np.ndarray,
    points: np.ndarray,
    depth: np.ndarray,
    ahead: np.ndarray,
    camera: Pinhole,
    pose: Pose,
    jump: float,
) -> tuple[np.ndarray, np.ndarray]:
    """How a step of one pixel in the frame moves a pixel's place in the view: `slopes` (H, W, 2, 2), place before step,
    and `reach` (H, W, 2), half the sides of the box that the pixel covers.

    The step goes to the neighbours of the same surface, and where there is none along a surface of constant depth.
    """
    slopes = np.empty((*depth.shape, 2, 2))
    reach = np.zeros((*depth.shape, 2))
    for step, axis in ((0, 1), (1, 0)):
        flat = camera.focal / points[..., 2:] ** 2 * (depth / camera.focal)[..., None]
        flat = flat * (
            pose.rotation[step, :2] * points[..., 2:] - pose.rotation[step, 2] * points[..., :2]
        )
        pair = _together(np.moveaxis(depth, axis, 0), np.moveaxis(ahead, axis, 0), jump)
        moved = np.diff(np.moveaxis(places, axis, 0), axis=0)
        missing = np.full_like(moved[:1], np.nan)
        moved = np.where(pair[..., None], moved, np.nan)
        before = np.moveaxis(np.concatenate([missing, moved]), 0, axis)
        after = np.moveaxis(np.concatenate([moved, missing]), 0, axis)
        before, after = (
            np.where(np.isnan(before), after, before),
            np.where(np.isnan(after), before, after),
        )
        before, after = (np.where(np.isnan(side), flat, side) for side in (before, after))
        slopes[..., step] = (before + after) / 2
        reach += np.maximum(np.abs(before), np.abs(after)) / 2
    return slopes, reach


def _together(depth: np.ndarray, ahead: np.ndarray, jump: float) -> np.ndarray:
    """Whether a row and the one below it belong to one surface, bool (n - 1, m)."""
    near = np.abs(np.diff(depth, axis=0)) <= jump * np.minimum(depth[1:], depth[:-1])
    return near & ahead[1:] & ahead[:-1]


def _nearest(
    places: np.ndarray,
    reach: np.ndarray,
    distance: np.ndarray,
    numbers: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    """For every pixel of the view the number of the patch in front there, -1 where none is; int64 (H, W)."""
    height, width = size
    reach = np.minimum(reach, LARGEST / 2) + ROUNDING
    sides = np.array([width, height])
    first = np.maximum(np.ceil(places - reach), 0)
    last = np.minimum(np.floor(places + reach), sides - 1)
    seen = (first <= last).all(axis=-1)
    first, last = first[seen].astype(np.int64), last[seen].astype(np.int64)
    distance, numbers = distance[seen], numbers[seen]
    covered = last - first + 1
    footprints = []
    for row in range(covered[:, 1].max(initial=0)):
        for column in range(covered[:, 0].max(initial=0)):
            wide = np.flatnonzero((covered[:, 0] > column) & (covered[:, 1] > row))
            footprints.append((wide, (first[wide, 1] + row) * width + first[wide, 0] + column))
    buffer = np.full(height * width, np.inf)
    for wide, targets in footprints:
        np.minimum.at(buffer, targets, distance[wide])
    winner = np.full(height * width, -1, np.int64)
    for wide, targets in footprints:
        front = distance[wide] == buffer[targets]
        winner[targets[front]] = numbers[wide[front]]
    return winner.reshape(height, width)


def _colours(
    frame: np.ndarray,
    depth: np.ndarray,
    known: np.ndarray,
    places: np.ndarray,
    slopes: np.ndarray,
    winner: np.ndarray,
    jump: float,
) -> np.ndarray:
    """The colours of the observed pixels, uint8 (N, 3)."""
    height, width = depth.shape
    rows, columns = np.nonzero(winner >= 0)
    patch = winner[rows, columns]
    offset = np.stack([columns, rows], axis=-1) - places.reshape(-1, 2)[patch]
    step = np.linalg.solve(slopes.reshape(-1, 2, 2)[patch], offset[..., None])[..., 0]
    # a whole step is the neighbour's part, and would leave the patch itself without weight
    centre = np.stack([patch % width, patch // width], axis=-1)
    positions = np.clip(centre + np.clip(step, -0.999, 0.999), 0, [width - 1, height - 1])
    here = depth.ravel()[patch]
    belongs = [
        known[row, column]
        & (np.abs(depth[row, column] - here) <= jump * np.minimum(depth[row, column], here))
        for row, column in around(np.floor(positions).astype(np.int64), height, width)
    ]
    return sample(frame, positions, np.stack(belongs, axis=-1))
