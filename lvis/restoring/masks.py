"""The mask beside a measurement: put into the operator, read block by block when it is a video."""

from collections import deque
from pathlib import Path

import numpy as np
import torch

from lvis.data.frames import IMAGE_SUFFIXES, FrameSource
from lvis.data.video import open_source
from lvis.errors import UserError
from lvis.operators import Inpainting, LinearOperator, StreamState
from lvis.operators.mask_files import threshold

REMEMBERED = (
    4  # blocks of a mask video that stay at hand: several readers follow one stream closely
)


class StreamedMask(Inpainting):
    """Inpainting with a mask a frame, of which only the last blocks are in memory.

    Args:
        source: the mask's frames, in order.
        name: of the file or folder, for errors.
        white: "observed" or "missing".
    """

    def __init__(self, source: FrameSource, name: str, white: str, noise_std: float = 0.0) -> None:
        super().__init__(white=white, noise_std=noise_std)
        self.name = name
        self._frames = iter(source)
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
        level = torch.from_numpy(np.stack(frames)[..., 1]).float() / 255
        white = threshold(level, f"the mask {self.name}")
        observed = white if self.white == "observed" else ~white
        operator = Inpainting(mask=observed, noise_std=self.noise_std)
        self._recent.append((begin, num_frames, operator))
        return operator, torch.zeros(())


def with_mask(operator: LinearOperator, path: str, size: tuple[int, int]) -> LinearOperator:
    """The operator with the mask in `path` (image, video, folder of images) for its random one.

    Raises:
        UserError: the operator has no mask, the file is no mask, or its size is not `size` (H, W).
    """
    if isinstance(operator, Inpainting):
        return _read_mask(path, operator, size)
    for module in operator.modules():
        for name, child in module.named_children():
            if isinstance(child, Inpainting):
                setattr(module, name, _read_mask(path, child, size))
                return operator
    raise UserError(
        f"mask={path} has no use in this task; leave it out or choose an inpainting task"
    )


def needs_mask(operator: LinearOperator) -> bool:
    """Whether the operator would draw a random mask, which no real measurement was made with."""
    return any(isinstance(m, Inpainting) and m.mask is None for m in operator.modules())


def _read_mask(path: str, old: Inpainting, size: tuple[int, int]) -> Inpainting:
    if Path(path).suffix.lower() in IMAGE_SUFFIXES or not Path(path).exists():
        new = Inpainting(mask=path, white=old.white, noise_std=old.noise_std)
        assert new.mask is not None
        height, width = new.mask.shape[-2:]
    else:
        source = open_source(path)
        new = StreamedMask(source, path, old.white, old.noise_std)
        height, width = source.info.height, source.info.width
    if (height, width) != size:
        raise UserError(
            f"the mask {path} is {width}x{height} and the video is {size[1]}x{size[0]}; "
            "give a mask of its size"
        )
    return new
