"""One clip through one stream: read, measure, restore, score, write."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lvis.cli.progress import FrameProgress, say
from lvis.data.comparison import SideBySide
from lvis.data.frames import FrameSink, FrameSource, VideoInfo, fit_to, to_frames, to_video
from lvis.data.video import open_sink
from lvis.files import replacing
from lvis.restore.measuring import FrameQueue, Observation, Observer, blocks_of
from lvis.restore.scores import Scores
from lvis.restore.settings import Settings, mask_path
from lvis.solvers.base import Solver, Stream, pad_to

Size = tuple[int, int]

SCORED = {"visible": "measurement", "inverse": "pinv"}  # names in the table


@dataclass(frozen=True)
class Outcome:
    """What a run did: frames, frames per second (reading and writing included), seconds to the first
    restored block, seconds per stage of the solver, and with degrade=true the scores, variant ->
    protocol -> mean."""

    frames: int
    rate: float
    time_to_first_frame: float
    timings: dict[str, float]
    scores: dict[str, dict[str, float]] = field(default_factory=dict)


class Run:
    """A context manager; what it writes appears when it ends without an error.

    Args:
        settings: the user's keys.
        info: of the source.
        size: (H, W) of the restored video; the stream's own size may be larger, the rest is
            cropped.
        solver, stream: open for this clip.
    """

    def __init__(
        self, settings: Settings, info: VideoInfo, size: Size, solver: Solver, stream: Stream
    ) -> None:
        self.settings, self.info, self.size = settings, info, size
        self.stream, self.name = stream, solver.name
        self._block_size = solver.block_size
        self._observer = Observer(
            stream.operator,
            torch.Generator(device=stream.device).manual_seed(settings.seed),
            degrade=settings.degrade,
            invert=settings.degrade and solver.name != "pinv",
        )
        self._queues = {name: FrameQueue() for name in ("visible", "inverse", "clean")}
        self._scores = Scores()
        self._sinks: dict[str, FrameSink] = {}
        self._sources: dict[str, FrameSource] = {}
        self._said: set[tuple[str, str]] = set()
        self._mask_image: np.ndarray | None = None
        captions = ["measurement", f"restored ({solver.name})"] + ["original"] * settings.degrade
        self._side_by_side = SideBySide(captions, *size)
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as exits:
            self._exits = exits
            self._open("restored", self.settings.output)
            if self.settings.compare:
                self._open("comparison", self.settings.comparison)
            if self.settings.save_measurement:
                self._open("measurement", self.settings.save_measurement)
            self._progress = exits.enter_context(FrameProgress(self.info.count))
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exits.__exit__(kind, error, traceback)
        if kind is None:
            self._say_notes()

    def through(self, source: FrameSource) -> Outcome:
        """Restore all of the source's frames."""
        whole = self.stream.whole_clip or (
            self.settings.degrade and not self.stream.operator.streamable
        )
        if whole:
            say("this task reads future frames, so the whole clip is held in memory")
        self._sources[self.settings.input] = source
        self._say_notes()
        for frames in blocks_of(source, self._block_size, whole):
            observation = self._observe(frames)
            for restored in self.stream.push(observation.measurement):
                self._emit(restored)
        for restored in self.stream.finish():
            self._emit(restored)
        self._write_mask_image()
        return Outcome(
            self._progress.frames,
            self._progress.rate,
            self.stream.time_to_first_frame or 0.0,
            self.stream.timings,
            self._scores.means(),
        )

    def _open(self, name: str, path: str) -> None:
        sound = self.settings.input if self.settings.input != "-" else None
        if sound is not None and os.path.isdir(sound):
            sound = None
        sink = open_sink(path, self.info, self.settings.quality, sound)
        self._sinks[name] = self._exits.enter_context(sink)

    def _observe(self, frames: np.ndarray) -> Observation:
        video = to_video(fit_to(frames, self.settings.size), self.stream.device)
        if self.settings.degrade:
            video = pad_to(video, self.stream.size)
        observation = self._observer(video)
        for name, queue in self._queues.items():
            if (part := getattr(observation, name)) is not None:
                queue.push(part)
        if "measurement" in self._sinks:
            self._write("measurement", to_frames(observation.measurement))
            self._save_mask(observation.observed)
        return observation

    def _emit(self, restored: Tensor) -> None:
        variants = {
            name: queue.take(restored.shape[2])
            for name, queue in self._queues.items()
            if len(queue)
        }
        variants[self.name] = restored
        height, width = self.size
        variants = {name: video[..., :height, :width] for name, video in variants.items()}
        clean = variants.get("clean")
        if clean is not None:
            for name, video in variants.items():
                if video is not clean:
                    self._scores.add(SCORED.get(name, name), video, clean)
        pictures = to_frames(variants[self.name])
        self._write("restored", pictures)
        if "comparison" in self._sinks:
            shown = [variants["visible"], variants[self.name], *([] if clean is None else [clean])]
            columns = [to_frames(video) for video in shown]
            self._write("comparison", map(self._side_by_side, zip(*columns, strict=True)))
        self._progress.advance(len(pictures))

    def _write(self, name: str, pictures: np.ndarray | Iterator[np.ndarray]) -> None:
        for picture in pictures:
            self._sinks[name].write(picture)
        self._say_notes()

    def _say_notes(self) -> None:
        """Say what sources and sinks have noted since the last time, each sentence once."""
        named = {f"the {name} video": sink.notes for name, sink in self._sinks.items()}
        named |= {name: source.notes for name, source in self._sources.items()}
        for name, notes in named.items():
            for note in notes:
                if (name, note) not in self._said:
                    self._said.add((name, note))
                    say(f"{name}: {note}")

    def _save_mask(self, observed: Tensor | None) -> None:
        if observed is None:
            return
        levels = (observed[0, 0].to(torch.uint8) * 255).cpu().numpy()
        if "mask" not in self._sinks and len(levels) == 1:
            self._mask_image = levels[0]
        else:
            if "mask" not in self._sinks:
                assert self.settings.save_measurement is not None
                target = mask_path(self.settings.save_measurement, video=True)
                self._sinks["mask"] = self._exits.enter_context(open_sink(target, self.info))
            self._write("mask", np.repeat(levels[..., None], 3, axis=-1))

    def _write_mask_image(self) -> None:
        if self._mask_image is None or self.settings.save_measurement is None:
            return
        with replacing(mask_path(self.settings.save_measurement, video=False)) as partial:
            Image.fromarray(self._mask_image).save(partial)
