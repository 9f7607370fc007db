"""Where the clips of a source begin, and cutting them: nearest frames in time, scaled, cropped."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from PIL import Image

from lvis.prepare.decoding import Picture
from lvis.prepare.scenes import CutDetector

ROUNDING = 2e-3  # seconds; Matroska rounds times to milliseconds


@dataclass(frozen=True)
class Scene:
    """Times of its first and last frame, in seconds."""

    first: float
    last: float


def scenes_of(pictures: Iterable[Picture], detector: CutDetector | None) -> list[Scene]:
    """The scenes of a source, one if there is no detector; decodes all of it."""
    scenes: list[Scene] = []
    first = last = None
    for picture in pictures:
        if detector is not None and detector(picture.thumbnail()) and first is not None:
            assert last is not None
            scenes.append(Scene(first, last))
            first = None
        first = picture.seconds if first is None else first
        last = picture.seconds
    return scenes if first is None or last is None else [*scenes, Scene(first, last)]


def clip_starts(
    scenes: Sequence[Scene], frames: int, fps: Fraction, stride: int, max_clips: int | None
) -> list[float]:
    """Times at which clips of `frames` at `fps` begin, each within one scene.

    They are `stride` frames apart from the beginning of each scene; of more than `max_clips` as many are kept,
    spread evenly over the source.
    """
    length, step = float((frames - 1) / fps), float(stride / fps)
    starts: list[float] = []
    for scene in scenes:
        room = scene.last - scene.first - length + ROUNDING
        if room >= 0:
            starts += [scene.first + number * step for number in range(int(room / step) + 1)]
    if max_clips is None or len(starts) <= max_clips:
        return starts
    return [starts[number * len(starts) // max_clips] for number in range(max_clips)]


def nearest_pictures(
    pictures: Iterable[Picture], starts: Sequence[float], frames: int, fps: Fraction
) -> Iterator[tuple[int, Picture]]:
    """(clip, picture) for every frame of every clip, the frames of a clip in order.

    The picture is the one nearest in time, the earlier of two that are equally near. Clips may overlap; `starts`
    ascend. Decodes no further than the last frame that is needed.
    """
    waiting = deque(enumerate(starts))
    running: dict[int, int] = {}  # clip -> frames given
    for picture, end in _with_ends(pictures):
        while waiting and waiting[0][1] <= end:
            running[waiting.popleft()[0]] = 0
        for clip in list(running):
            while running[clip] < frames and starts[clip] + float(running[clip] / fps) <= end:
                running[clip] += 1
                yield clip, picture
            if running[clip] == frames:
                del running[clip]
        if not waiting and not running:
            return


def fitted(frame: np.ndarray, size: tuple[int, int], aspect: Fraction = Fraction(1)) -> np.ndarray:
    """A frame uint8 (H, W, 3) scaled to cover `size`, cut to it about the centre, with square pixels.

    Bicubic with antialiasing; exact where the size is right already. `aspect` is the width of the frame's pixels
    over their height.
    """
    height, width = frame.shape[:2]
    if (height, width) == size and aspect == 1:
        return frame
    # the largest box of the target's shape, in the frame's own pixels
    shape = size[1] / size[0] / float(aspect)
    box_width, box_height = min(width, height * shape), min(height, width / shape)
    left, top = (width - box_width) / 2, (height - box_height) / 2
    box = (left, top, left + box_width, top + box_height)
    image = Image.fromarray(frame)
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC, box=box))


def cut(
    pictures: Iterable[Picture],
    starts: Sequence[float],
    frames: int,
    fps: Fraction,
    convert: Callable[[np.ndarray], np.ndarray],
) -> Iterator[tuple[int, np.ndarray]]:
    """(clip, frame) as `nearest_pictures` chooses them; each picture is converted once."""
    last: Picture | None = None
    for clip, picture in nearest_pictures(pictures, starts, frames, fps):
        if picture is not last:
            frame, last = convert(picture.rgb()), picture
        yield clip, frame


def _with_ends(pictures: Iterable[Picture]) -> Iterator[tuple[Picture, float]]:
    """Each picture with the time up to which none is nearer: half way to the next one."""
    last: Picture | None = None
    for picture in pictures:
        if last is not None:
            yield last, (last.seconds + picture.seconds) / 2
        last = picture
    if last is not None:
        yield last, float("inf")
