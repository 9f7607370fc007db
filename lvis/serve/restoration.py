"""One clip being restored: frames in; measured and restored pictures out, block by block."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from lvis.cli.build import build
from lvis.cli.config import plain
from lvis.data.frames import FrameSink, FrameSource, VideoInfo, fit_to, to_frames, to_video
from lvis.data.video import open_sink, open_source
from lvis.errors import UserError
from lvis.restore.command import realised, sizes
from lvis.restore.measuring import FrameQueue, Observer, blocks_of
from lvis.restore.scores import Scores
from lvis.restore.settings import Settings
from lvis.serve.choices import Choice, Menu, composed, scaled
from lvis.serve.solvers import Solvers
from lvis.solvers.base import pad_to
from lvis.solvers.blocks import block_frames


@dataclass(frozen=True)
class Block:
    """Frames `first`, `first` + 1, ... of the clip, each uint8 (H, W, 3)."""

    first: int
    measured: np.ndarray
    restored: np.ndarray

    def pictures(self) -> list[np.ndarray]:
        """Measured and restored pictures, alternating."""
        return [one for pair in zip(self.measured, self.restored, strict=True) for one in pair]


class Restoration:
    """A context manager around one stream; with a file as its clip, iterate `step` until it is empty.

    Not thread-safe, but successive calls may come from different threads.

    Args:
        choice, menu: what to do.
        clip: the file; None for live frames, which `feed` takes.
        mask: of an inpainting task.
        output: where the restored video is written, with the clip's sound; None writes none.
        live: size and rate of live frames.
        longest: of the clip in seconds.

    Raises:
        UserError: as `python -m lvis.restore` would.
    """

    def __init__(
        self,
        choice: Choice,
        menu: Menu,
        solvers: Solvers,
        clip: Path | None,
        mask: Path | None = None,
        output: Path | None = None,
        live: VideoInfo | None = None,
        longest: float = float("inf"),
    ) -> None:
        self.choice, self.longest = choice, longest
        self._exits = contextlib.ExitStack()
        with contextlib.ExitStack() as exits:
            overrides = [*choice.overrides(menu), f"max_pixels={menu.max_pixels}"]
            config = composed(overrides)
            source: FrameSource | None = None
            if clip is not None:
                source = exits.enter_context(open_source(str(clip), most_pixels=menu.max_pixels))
            info = source.info if source is not None else live
            assert info is not None
            target = scaled(info, choice.side)
            self.settings = Settings.of(
                plain(config)
                | {
                    "input": "-" if clip is None else str(clip),
                    "output": "-" if output is None else str(output),
                    "prompt": choice.prompt,
                    "mask": None if mask is None else str(mask),
                    "size": None if target is None else list(target),
                }
            )
            operator = build(config.task.operator)
            self.size, solved = sizes(info, operator, self.settings)
            operator = realised(operator, solved, self.settings, info.count)
            solver = solvers.get(config)
            self.stream = exits.enter_context(
                solver.open(operator, solved, prompt=choice.prompt, seed=self.settings.seed)
            )
            self.info = info
            self.whole = self.stream.whole_clip or (
                choice.degrade and not self.stream.operator.streamable
            )
            if clip is None and self.whole:
                raise UserError(
                    f"solver={choice.solver} needs the whole clip and a webcam has no end; "
                    "choose student, avis, avis_flash or pinv"
                )
            self.next_frames, self._later = block_frames(solver.block_size)
            self._observer = Observer(
                self.stream.operator,
                torch.Generator(device=self.stream.device).manual_seed(self.settings.seed),
                degrade=choice.degrade,
            )
            self._blocks = (
                None
                if source is None
                else blocks_of(_Bounded(source, longest), solver.block_size, self.whole)
            )
            self._sink: FrameSink | None = None
            if output is not None:
                sound = str(clip) if clip is not None else None
                self._sink = exits.enter_context(
                    open_sink(str(output), info, self.settings.quality, sound)
                )
            self._exits = exits.pop_all()
        self._visible, self._clean = FrameQueue(), FrameQueue()
        self._scores = Scores()
        self.frames = 0
        self.began = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """The output appears when there is no error."""
        self._exits.__exit__(kind, error, traceback)

    def step(self) -> tuple[list[Block], bool]:
        """The clip's next blocks, if its next frames complete any, and whether these were the last."""
        assert self._blocks is not None
        frames = next(self._blocks, None)
        return (self.feed(frames), False) if frames is not None else (self.finish(), True)

    def feed(self, frames: np.ndarray) -> list[Block]:
        """The blocks that these frames, uint8 (T, H, W, 3), complete."""
        video = to_video(fit_to(frames, self.settings.size), self.stream.device)
        if self.choice.degrade:
            video = pad_to(video, self.stream.size)
        observation = self._observer(video)
        self._visible.push(observation.visible)
        if observation.clean is not None:
            self._clean.push(observation.clean)
        self.next_frames = self._later
        return [self._block(one) for one in self.stream.push(observation.measurement)]

    def finish(self) -> list[Block]:
        """The blocks that are left."""
        return [self._block(one) for one in self.stream.finish()]

    def facts(self) -> dict[str, object]:
        """Numbers so far: frames, frames per second, ms per frame of each stage, PSNR in dB."""
        seconds = max(time.perf_counter() - self.began, 1e-6)
        done = max(1, self.frames)
        stages = {name: 1000 * spent / done for name, spent in self.stream.timings.items() if spent}
        return {
            "frames": self.frames,
            "rate": self.frames / seconds,
            "first": self.stream.time_to_first_frame,
            "stages": stages,
            "psnr": {
                name: next(iter(means.values())) for name, means in self._scores.means().items()
            },
        }

    def _block(self, restored: Tensor) -> Block:
        count = restored.shape[2]
        height, width = self.size
        restored = restored[..., :height, :width]
        visible = self._visible.take(count)[..., :height, :width]
        if len(self._clean):
            clean = self._clean.take(count)[..., :height, :width]
            self._scores.add("measured", visible, clean)
            self._scores.add("restored", restored, clean)
        block = Block(self.frames, to_frames(visible), to_frames(restored))
        self.frames += count
        if self._sink is not None:
            for picture in block.restored:
                self._sink.write(picture)
        return block


class _Bounded:
    """A source that is cut off where it exceeds the length that its header promised."""

    def __init__(self, source: FrameSource, longest: float) -> None:
        self._source, self._longest = source, longest
        self.info = source.info

    def __iter__(self) -> Iterator[np.ndarray]:
        for number, frame in enumerate(self._source):
            if number > self._longest * self.info.rate + 1:
                raise UserError(
                    f"the clip is longer than {self._longest:g} s, the most this server takes "
                    "(max_seconds); cut it"
                )
            yield frame

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None
