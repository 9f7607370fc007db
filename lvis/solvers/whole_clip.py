"""Streams of solvers that restore the whole clip at once: the answer comes at `finish`."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from lvis.solvers.base import S, Stream


class WholeClipStream(Stream[S]):
    """Subclasses restore a clip of any length.

    `passes` has the networks by what they are: image_prior, image_encoder, image_decoder,
    video_prior, video_encoder, video_decoder, and flow for optical flow.
    """

    whole_clip = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._clip: list[Tensor] = []

    @abstractmethod
    def restore_clip(self, measurement: Tensor) -> Tensor:
        """x (B, 3, T, H, W) of the whole measurement."""

    def count_passes(self, images: Mapping[str, int], frames: int) -> None:
        """Set `passes`, by how many images went through each network for clips of `frames`.

        Patches count each.
        """
        self.passes = {name: count / (self.batch * frames) for name, count in images.items()}

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._clip = []

    def _add(self, measurement: Tensor) -> Iterator[Tensor]:
        self._clip.append(measurement)
        return iter(())

    def _end(self) -> Iterator[Tensor]:
        if not self._clip:
            return iter(())
        measurement = torch.cat(self._clip, dim=2)
        self._clip = []
        with self.clock("operator"):
            if self.agreement is not None:
                self.measured = self.agreement.clip(measurement)
            video = self.restore_clip(measurement).clamp(-1, 1)
            if self._corrects and self.measured is not None:
                video = self.measured.corrected(video).clamp(-1, 1)
        return iter(self.cut(video))

    def cut(self, video: Tensor) -> list[Tensor]:
        """The blocks of a clip (B, 3, T, H, W)."""
        first, later = video[:, :, : self._first_block], video[:, :, self._first_block :]
        return [first, *(later.split(self._later_block, dim=2) if later.shape[2] else ())]
