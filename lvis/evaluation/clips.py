"""Clean clips to measure and restore: held-out synthetic ones, or real ones from files and folders."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from torch import Tensor

from lvis.data.frames import to_video
from lvis.data.synthetic import SyntheticVideos
from lvis.data.video import open_source
from lvis.errors import UserError
from lvis.restoring.measuring import fit_to


def named_clips(
    source: str | Sequence[str], count: int, frames: int, size: tuple[int, int], seed: int
) -> Iterator[tuple[str, Tensor]]:
    """(name, (1, 3, T, H, W) in [-1, 1]) of each clip.

    Args:
        source: "synthetic" (the held-out split), or videos and folders of frames; a clip is the first `frames`
            frames of each, scaled and centre-cropped to `size`.
        count: how many synthetic clips.

    Raises:
        UserError: a path that is no readable video, or one shorter than `frames`.
    """
    if source == "synthetic":
        videos = SyntheticVideos(seed, frames, size, "val", length=count)
        for index in range(count):
            yield f"synthetic-{index}", videos[index]["video"][None]
        return
    for path in [source] if isinstance(source, str) else source:
        with open_source(path) as reader:
            taken = [fit_to(frame[None], size)[0] for frame in islice(iter(reader), frames)]
        if len(taken) < frames:
            raise UserError(
                f"clips.source: {path} has {len(taken)} frames, clips.frames={frames} asks for more; lower it"
            )
        yield Path(path).stem, to_video(taken)
