"""The mask beside a measurement: put into the operator, read block by block when it is a video."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lvis.cli.progress import say
from lvis.data.frames import IMAGE_SUFFIXES
from lvis.data.video import open_source
from lvis.errors import UserError
from lvis.operators import Inpainting, LinearOperator, StreamState
from lvis.operators.mask_files import (
    brightest,
    mask_images,
    read_mask_image,
    threshold,
    white_level,
)

REMEMBERED = (
    4  # blocks of a mask video that stay at hand: several readers follow one stream closely
)


class StreamedMask(Inpainting):
    """Inpainting with one mask per frame, of which only the last blocks are in memory.

    Args:
        frames: the mask's levels in order, uint8 (H, W) each.
        white_at: the level that is white.
        name: of the file or folder, for errors.
        white: "observed" or "missing".
    """

    def __init__(
        self,
        frames: Iterator[np.ndarray],
        name: str,
        white: str,
        noise_std: float = 0.0,
        white_at: int = 255,
    ) -> None:
        super().__init__(white=white, noise_std=noise_std)
        self.name, self.white_at = name, white_at
        self._frames = frames
        self._read = 0
        self._recent: deque[tuple[int, int, Inpainting]] = deque(maxlen=REMEMBERED)

    def realise(self, x_shape, generator=None) -> "StreamedMask":  # noqa: ANN001
        return self

    def block(
        self, state: StreamState | None, num_frames: int
    ) -> tuple[LinearOperator, torch.Tensor]:
        begin = state.frames if state else 0
        for first, count, operator in self._recent:
            if (first, count) == (begin, num_frames):
                return operator, torch.zeros(())
        assert begin == self._read, "a mask video is read once, in order"
        frames = [frame for _, frame in zip(range(num_frames), self._frames, strict=False)]
        if len(frames) < num_frames:
            raise UserError(
                f"the mask ends after {begin + len(frames)} frames and the video does not; "
                "give a mask as long as the video, or a single image"
            )
        self._read += num_frames
        level = torch.from_numpy(np.stack(frames)).float() / self.white_at
        white = threshold(level, f"the mask {self.name}")
        observed = white if self.white == "observed" else ~white
        operator = Inpainting(mask=observed, noise_std=self.noise_std)
        self._recent.append((begin, num_frames, operator))
        return operator, torch.zeros(())


def with_mask(
    operator: LinearOperator, path: str, size: tuple[int, int], count: int | None = None
) -> LinearOperator:
    """The operator with the mask in `path` (image, video, folder of images) for its random one.

    `count` is the number of the video's frames as far as it is known. The share of pixels that the
    mask holds missing is reported.

    Raises:
        UserError: the operator has no mask, the file is no mask, or its size is not `size` (H, W) or
            its length not the video's.
    """
    if isinstance(operator, Inpainting):
        return _read_mask(path, operator, size, count)
    for module in operator.modules():
        for name, child in module.named_children():
            if isinstance(child, Inpainting):
                setattr(module, name, _read_mask(path, child, size, count))
                return operator
    raise UserError(
        f"mask={path} has no use in this task; leave it out or choose an inpainting task"
    )


def needs_mask(operator: LinearOperator) -> bool:
    """Whether the operator would draw a random mask, which no real measurement was made with."""
    return any(isinstance(m, Inpainting) and m.mask is None for m in operator.modules())


def _read_mask(path: str, old: Inpainting, size: tuple[int, int], count: int | None) -> Inpainting:
    new: Inpainting
    if Path(path).suffix.lower() in IMAGE_SUFFIXES or not Path(path).exists():
        new = Inpainting(mask=path, white=old.white, noise_std=old.noise_std)
        assert new.mask is not None
        height, width = new.mask.shape[-2:]
        observed = float(new.mask.float().mean())
    else:
        seen = _survey(path)
        height, width = seen.size
        _check_length(path, seen.count, count)
        observed = seen.white if old.white == "observed" else 1 - seen.white
        if not observed:
            raise UserError(
                f"the mask {path} observes no pixel (white means {old.white}); give another, or set "
                "task.operator.white"
            )
        new = StreamedMask(_levels(path), path, old.white, old.noise_std, seen.white_at)
    if (height, width) != size:
        raise UserError(
            f"the mask {path} is {width}x{height} and the video is {size[1]}x{size[0]}; "
            "give a mask of its size"
        )
    other = "missing" if old.white == "observed" else "observed"
    say(
        f"the mask {path} holds {1 - observed:.1%} of the pixels missing (white is {old.white}; "
        f"if that is the wrong way round, add task.operator.white={other})"
    )
    return new


@dataclass(frozen=True)
class _Seen:
    """What a whole mask of many frames says: its size (H, W), frames, the level and share of white."""

    size: tuple[int, int]
    count: int
    white_at: int
    white: float


def _survey(path: str) -> _Seen:
    """Read all of a mask once, a frame at a time."""
    size, count, highest = (0, 0), 0, 0
    shares = {1: 0.0, 255: 0.0}  # of white, in a mask of zeros and ones and in one of 0 to 255
    for levels in _levels(path):
        if count and levels.shape != size:
            raise UserError(
                f"the mask {path} has frames of different sizes; all of them must have the video's"
            )
        size = (levels.shape[0], levels.shape[1])
        highest = max(highest, int(levels.max()))
        for top in shares:
            shares[top] += float((levels >= top / 2).mean())
        count += 1
    white_at = white_level(highest)
    return _Seen(size, count, white_at, shares[white_at] / max(1, count))


def _levels(path: str) -> Iterator[np.ndarray]:
    if Path(path).is_dir():
        yield from map(read_mask_image, mask_images(Path(path)))
        return
    with open_source(path) as source:
        for frame in source:
            yield brightest(frame)


def _check_length(path: str, mask: int, video: int | None) -> None:
    """Raises UserError where a mask is too short or too long; containers' own counts may be 2 off."""
    if video is None or abs(mask - video) <= max(2, video // 100):
        return
    if mask < video:
        raise UserError(
            f"the mask ends after {mask} frames and the video has {video}; "
            "give a mask as long as the video, or a single image"
        )
    raise UserError(
        f"the mask {path} has {mask} frames and the video has {video}; give one mask per frame "
        "of the video, at its frame rate"
    )
