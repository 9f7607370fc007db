"""Camera moves over a photograph: pan, zoom, a slight turn, at sub-pixel positions and without aliasing."""

import cv2
import numpy as np

from lvis.data.motion import Motion, draw_motion

MAX_ANGLE = 0.06  # radians
MAX_ZOOM = 0.2  # of the logarithm of the magnification
_SUPERSAMPLE_FROM = 1.15  # picture pixels per output pixel


def draw_move(rng: np.random.Generator, frames: int, size: tuple[int, int]) -> Motion:
    """A drift of 0.05 to 3 % of the shorter side per frame (log-uniform) with sway, turn and zoom; a tenth stand still.

    The direction is any; half of the moves neither turn nor zoom.
    """
    speed = float(np.exp(rng.uniform(np.log(0.0005), np.log(0.03)))) * min(size)
    still, level, angle = rng.random() < 0.1, rng.random() < 0.5, rng.uniform(0, 2 * np.pi)
    velocity = (0.0 if still else speed) * np.array([np.cos(angle), np.sin(angle)])
    turns = 0.0 if still or level else 1.0
    return draw_motion(
        rng, frames, velocity, max_angle=turns * MAX_ANGLE, max_zoom=turns * MAX_ZOOM
    )


def film(
    rng: np.random.Generator,
    picture: np.ndarray,
    motion: Motion,
    size: tuple[int, int],
    shrink: float = 1.0,
) -> np.ndarray:
    """A clip uint8 (T, h, w, 3) of a photograph uint8 (H, W, 3) seen along `motion`.

    `shrink` >= 1 is the number of the photograph's pixels per output pixel where the zoom is least wide. The
    window stays inside the photograph: a move that does not fit is damped until it does, and where it begins is
    drawn. Shrinking averages areas first; the rest is a cubic warp, at twice the resolution where it
    shrinks further.
    """
    height, width = size
    if shrink > 1.01:
        fx = max(1 / shrink, width / picture.shape[1])
        fy = max(1 / shrink, height / picture.shape[0])
        target = (
            max(round(picture.shape[1] * fx), width),
            max(round(picture.shape[0] * fy), height),
        )
        picture = cv2.resize(picture, target, interpolation=cv2.INTER_AREA)
    for damping in (1.0, 0.5, 0.25, 0.1, 0.0):
        centres, scale, angle = _path(motion, damping)
        cosine, sine = np.abs(np.cos(angle)), np.abs(np.sin(angle))
        half_x = scale * (width * cosine + height * sine) / 2
        half_y = scale * (height * cosine + width * sine) / 2
        low = np.array([(half_x - centres[:, 0]).max(), (half_y - centres[:, 1]).max()])
        high = np.array(
            [
                (picture.shape[1] - half_x - centres[:, 0]).min(),
                (picture.shape[0] - half_y - centres[:, 1]).min(),
            ]
        )
        if (high >= low).all():
            break
    start = low + rng.random(2) * np.maximum(high - low, 0)
    if damping == 0:
        start = np.floor(start - low) + low  # nothing moves: whole pixels keep it sharp
    frames = np.empty((len(scale), height, width, 3), np.uint8)
    times = 2 if scale.max() > _SUPERSAMPLE_FROM else 1
    for number, frame in enumerate(frames):
        if number and _same(centres, scale, angle, number):
            frame[:] = frames[number - 1]
            continue
        frame[:] = _look(
            picture, start + centres[number], scale[number], angle[number], size, times
        )
    return frames


def _path(motion: Motion, damping: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres (T, 2) from the first, picture pixels per output pixel (T,) >= 1, angles (T,)."""
    zoom = np.log(motion.zoom)
    scale = np.exp(damping * (zoom.max() - zoom))
    return -damping * motion.offset, scale, damping * motion.angle


def _same(centres: np.ndarray, scale: np.ndarray, angle: np.ndarray, number: int) -> bool:
    now, last = number, number - 1
    return bool(
        (centres[now] == centres[last]).all()
        and scale[now] == scale[last]
        and angle[now] == angle[last]
    )


def _look(
    picture: np.ndarray,
    centre: np.ndarray,
    scale: float,
    angle: float,
    size: tuple[int, int],
    times: int,
) -> np.ndarray:
    """One frame uint8 (h, w, 3): the window of `scale` * size about `centre` (x, y; pixel edges at integers)."""
    height, width = times * size[0], times * size[1]
    step = scale / times
    linear = step * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    # pixel i covers [i, i + 1]: its centre is half a pixel further
    shift = centre - 0.5 - linear @ np.array([(width - 1) / 2, (height - 1) / 2])
    seen = cv2.warpAffine(
        picture,
        np.concatenate([linear, shift[:, None]], 1),
        (width, height),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    if times == 1:
        return seen
    return cv2.resize(seen, (size[1], size[0]), interpolation=cv2.INTER_AREA)
