"""The scores of one method on one clip, by a protocol."""

import re
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from lvis.data.video import DEFAULT_QUALITY
from lvis.evaluate.codec import through_h264, write_clip
from lvis.evaluate.methods import Restoration, scores
from lvis.metrics import Moments, Scores, Suite, Unmeasured, frechet_distance
from lvis.metrics.registry import SET
from lvis.operators import LinearOperator
from lvis.weights.safe import write_tensors

REFERENCE = "clean"


class Scoring:
    """A protocol at work in one folder of results.

    Args:
        suite: the protocol's metrics.
        quality: constant rate factor of the H.264 that both sides go through first; None scores tensors.
        folder: of the features of one cell of the table (one solver, task and set of clips), kept
            for the metrics of whole sets.
    """

    def __init__(self, suite: Suite, quality: int | None, folder: Path) -> None:
        self.suite, self.quality, self.folder = suite, quality, folder
        self._sets = [one for one in suite.metrics if one.of == SET]
        self._reasons: dict[str, str] = {}
        self._absent = suite.vbench.check(suite.dimensions) if suite.dimensions else {}

    def clip(
        self,
        name: str,
        restored: dict[str, Restoration],
        clean: Tensor,
        operator: LinearOperator,
        y: Tensor,
    ) -> dict[str, Scores]:
        """Method -> its scores on the clip, measured as y by the true `operator`; features are written.

        `name` distinguishes clips by their content, too: features of another clip of one name are never taken for its.
        """
        reference = self._compressed(clean)
        self._keep_features(REFERENCE, name, reference)
        found = {}
        for method, restoration in restored.items():
            video = self._compressed(restoration.video)
            parts = [
                self.suite.clip(video, reference),
                self.suite.fidelity(self._measured(operator, restoration.video), y),
                self.suite.clock(restoration.clock),
            ]
            total = Scores(dict(scores(restoration.video, clean)))
            for part in parts:
                total.values |= part.values
                total.unmeasured |= part.unmeasured
            self._keep_features(method, name, video)
            found[method] = total
        if self.suite.dimensions:
            self._vbench({method: r.video for method, r in restored.items()}, found)
        return found

    def sets(self, methods: tuple[str, ...], clips: list[str]) -> dict[str, tuple[int, Scores]]:
        """Method -> how many of `clips` are there, and the metrics of all of them together."""
        return {method: self._set(method, clips) for method in methods} if self._sets else {}

    def _set(self, method: str, clips: list[str]) -> tuple[int, Scores]:
        scores, number = Scores(), 0
        for one in self._sets:
            column = self.suite.column(one)
            both = [
                name
                for name in clips
                if all(self._path(one.name, who, name).is_file() for who in (method, REFERENCE))
            ]
            if not both:
                scores.miss(column, self._reason(one.name))
                continue
            number = len(both)
            scores.take(
                column,
                lambda one=one, both=both: frechet_distance(  # type: ignore[misc]
                    *(self._moments(one.name, who, both) for who in (method, REFERENCE))
                ),
            )
        return number, scores

    def _moments(self, metric: str, who: str, clips: list[str]) -> Moments:
        # always in the order of names, whichever process wrote them: the same sum to the last digit
        moments: Moments | None = None
        for name in sorted(clips):
            features = load_file(self._path(metric, who, name))["features"]
            moments = (moments or Moments.empty(features.shape[1])).add(features)
        assert moments is not None
        return moments

    def _reason(self, metric: str) -> str:
        if metric not in self._reasons:
            try:
                self.suite.features(metric, torch.zeros(1, 3, 32, 32, 32), "")
            except Unmeasured as reason:
                return str(reason)
        return self._reasons.get(metric, "no clip has given features")

    def _keep_features(self, who: str, name: str, video: Tensor) -> None:
        for one in self._sets:
            path = self._path(one.name, who, name)
            try:
                features = self.suite.features(one.name, video, name)
            except Unmeasured as reason:
                self._reasons[one.name] = str(reason)
                continue
            write_tensors(path, {"features": features.contiguous()}, {})

    def _path(self, metric: str, who: str, clip: str) -> Path:
        safe = re.sub(r"[^\w.-]", "_", clip)
        return self.folder / metric / re.sub(r"\W", "_", who) / f"{safe}.safetensors"

    def _measured(self, operator: LinearOperator, video: Tensor) -> Tensor | None:
        return operator(video) if operator.space == "pixel" else None

    def _compressed(self, video: Tensor) -> Tensor:
        return video if self.quality is None else through_h264(video, self.quality)

    def _vbench(self, videos: dict[str, Tensor], found: dict[str, Scores]) -> None:
        columns = {
            one.name.removeprefix("vbench_"): self.suite.column(one)
            for one in self.suite.metrics
            if one.network == "vbench"
        }
        absent = dict(self._absent)
        here = [name for name in columns if name not in absent]
        files = {method: f"{index}.mp4" for index, method in enumerate(videos)}
        results: dict[str, dict[str, float]] = {}
        if here:
            with tempfile.TemporaryDirectory() as place:
                for method, video in videos.items():
                    quality = DEFAULT_QUALITY if self.quality is None else self.quality
                    write_clip(Path(place) / files[method], video, quality)
                try:
                    results = self.suite.vbench.run(Path(place), here)
                except Unmeasured as reason:
                    absent |= dict.fromkeys(here, str(reason))
        for method, scores_of in found.items():
            for dimension, column in columns.items():
                if dimension in absent:
                    scores_of.miss(column, absent[dimension])
                else:
                    scores_of.values[column] = results[dimension][files[method]]
