"""Interlaced pictures made progressive by FFmpeg's bwdif (BBC's w3fdif and yadif in one)."""

from collections.abc import Iterator

import av
from av.filter import Graph

DONE = "it is interlaced: every frame is deinterlaced, at the same rate (deinterlace=false leaves them as they are)"
LEFT = "it is interlaced, and its frames are taken as progressive (deinterlace=false)"


class Deinterlacer:
    """One progressive frame for each frame; those that are not marked as interlaced pass unchanged.

    The field that a frame shows first, which it says of itself, keeps its lines and its time; the
    others are interpolated. `seen` says whether there was an interlaced frame yet.
    """

    def __init__(self) -> None:
        self.seen = False

    def __call__(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        graph: Graph | None = None
        for frame in frames:
            if graph is None and frame.interlaced_frame:
                self.seen = True
                graph = _graph(frame)
            if graph is None:
                yield frame
                continue
            graph.vpush(frame)
            yield from _waiting(graph)
        if graph is not None:
            graph.vpush(None)
            yield from _waiting(graph)


def _graph(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base,
        ),
        graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced"),
        graph.add("buffersink"),
    ).configure()
    return graph


def _waiting(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (BlockingIOError, EOFError):
            return
