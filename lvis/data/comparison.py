"""Side-by-side frames with a caption over each."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 4  # pixels between pictures
INK, PAPER = (235, 235, 235), (24, 24, 24)


class SideBySide:
    """Puts frames of one size, uint8 (H, W, 3), next to each other under their captions."""

    def __init__(self, captions: list[str], height: int, width: int) -> None:
        self._size = (height, width)
        self._strip = max(14, height // 24)
        font = ImageFont.load_default(size=round(0.75 * self._strip))
        total_width = len(captions) * width + (len(captions) - 1) * GAP
        # even sides, so that the clip can be 4:2:0
        canvas = Image.new(
            "RGB", (total_width + total_width % 2, _even(height + self._strip)), PAPER
        )
        draw = ImageDraw.Draw(canvas)
        self._lefts = [place * (width + GAP) for place in range(len(captions))]
        for left, caption in zip(self._lefts, captions, strict=True):
            draw.text(
                (left + width / 2, self._strip / 2), caption, fill=INK, font=font, anchor="mm"
            )
        self._canvas = np.asarray(canvas)

    def __call__(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        height, width = self._size
        canvas = self._canvas.copy()
        for left, picture in zip(self._lefts, pictures, strict=True):
            canvas[self._strip : self._strip + height, left : left + width] = picture
        return canvas


def _even(side: int) -> int:
    return side + side % 2
