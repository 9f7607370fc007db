"""What a file says of itself beside its streams: titles, dates, chapters, timecode."""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.container import InputContainer, OutputContainer
from av.stream import Disposition

from lvis.untrusted import open_video

if TYPE_CHECKING:
    from av.container.core import Chapter  # in PyAV's stubs alone

# what a container says of itself, which is untrue of another
_OF_THE_CONTAINER = (
    "major_brand",
    "minor_version",
    "compatible_brands",
    "encoder",
    "software",
    "duration",
    "timecode",
)
_TIMECODE = re.compile(r"\d\d:\d\d:\d\d([:;.])(\d\d)")


def carry(
    source: InputContainer,
    video: av.VideoStream,
    output: OutputContainer,
    target: av.VideoStream,
    begins: float,
    even_rate: Fraction | None,
) -> None:
    """Give an output, before its first packet, the tags, the chapters and the timecode of a source.

    `begins` is the time in the source, in seconds, at which the output begins. A timecode counts
    frames, so it needs an `even_rate`.
    """
    for key, value in source.metadata.items():
        if key.lower() not in _OF_THE_CONTAINER:
            output.metadata[key.lower() if key.isupper() else key] = value
    if language := video.metadata.get("language"):
        target.metadata["language"] = language
    if title := video.metadata.get("title") or video.metadata.get("name"):
        target.metadata["title"] = title
    target.disposition = Disposition.default
    output.set_chapters(list(_chapters(source, begins)))
    timecode = timecode_of(source)
    if timecode and even_rate and _can_count(timecode, even_rate):
        target.metadata["timecode"] = timecode


def main_stream(container: InputContainer) -> av.VideoStream:
    """The video stream that a player shows: the default one, and no cover picture."""
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ] or list(container.streams.video)
    return next((s for s in streams if s.disposition & Disposition.default), streams[0])


def timecode_of(source: InputContainer) -> str | None:
    """The timecode of a file's first frame, wherever it keeps it."""
    for metadata in (*(stream.metadata for stream in source.streams), source.metadata):
        for key, value in metadata.items():
            if key.lower() == "timecode":
                return value
    return None


def losses(source: Path, output: Path) -> Iterator[str]:
    """Sentences on what of a source an output does not have, by their headers."""
    with open_video(source) as old, open_video(output) as new:
        kept = {key.lower() for key in new.metadata} | set(_OF_THE_CONTAINER)
        lost = [key.lower() for key in old.metadata if key.lower() not in kept]
        lost = [key for key in lost if not key.startswith("_statistics")]
        if lost:
            yield f"this container keeps no tag called {', '.join(lost)}"
        if len(new.chapters()) < len(old.chapters()):
            yield "this container keeps no chapters"
        if timecode_of(old) and not timecode_of(new):
            yield f"the timecode {timecode_of(old)} is not kept: this container or a varying rate allows none"
        for one, other in zip(old.streams.audio, new.streams.audio, strict=False):
            for key, name in (("language", "language"), ("title", "title")):
                said = one.metadata.get(key)
                if said and said != "und" and said not in other.metadata.values():
                    yield f"this container does not keep the {name} {said} of its sound"
    yield from _left_out(source)


def beside_pictures(source: Path) -> list[str]:
    """Sentences on what a folder or a pipe of pictures cannot take from a source."""
    with open_video(source) as container:
        found = {
            "sound": container.streams.audio,
            "subtitles": container.streams.subtitles,
            "chapters": container.chapters(),
        }
    names = [name for name, held in found.items() if held]
    return [f"pictures alone are written; its {', '.join(names)} are not kept"] if names else []


def _left_out(source: Path) -> Iterator[str]:
    with open_video(source) as container:
        covers = [s for s in container.streams.video if s.disposition & Disposition.attached_pic]
        further = len(container.streams.video) - len(covers) - 1
        if further > 0:
            yield f"{further} further video streams are left out"
        if covers:
            yield "its cover picture is left out"
        if container.streams.attachments:
            yield f"{len(container.streams.attachments)} attached files are left out"
        # chapters and timecode are tracks of their own in QuickTime and MP4
        spoken_for = bool(container.chapters()) and "mov" in container.format.name
        data = [s for s in container.streams.data if "timecode" not in s.metadata]
        if len(data) > spoken_for:
            yield f"{len(data) - spoken_for} data streams are left out"


def _chapters(source: InputContainer, begins: float) -> Iterator["Chapter"]:
    for chapter in source.chapters():
        tick = chapter["time_base"] or Fraction(1, av.time_base)
        moved = round(Fraction(begins) / tick)
        start, end = max(0, chapter["start"] - moved), chapter["end"] - moved
        if end > 0:
            yield {**chapter, "start": start, "end": end, "time_base": tick}


def _can_count(timecode: str, rate: Fraction) -> bool:
    """Whether a timecode is one at this rate, by SMPTE ST 12-1; FFmpeg's writers fail on others."""
    match = _TIMECODE.fullmatch(timecode)
    if match is None or int(match[2]) >= round(rate):
        return False
    return match[1] == ":" or round(rate) % 30 == 0
