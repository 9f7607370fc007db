"""The same comparison as runs on Weights & Biases: one for every entry of a section, with its table and its videos.

Without an account, or with WANDB_MODE=offline, the runs are written to disk and `wandb sync` publishes them later.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from lvis.metrics import Metric
from lvis.report.media import videos_of
from lvis.report.results import Entry, Section

JOB = "lvis.report"
LONGEST_TAG = 64  # characters, W&B's limit


@dataclass(frozen=True)
class Place:
    """Where the runs go; the report's run sets find theirs by `title` and the section."""

    output: Path
    project: str
    entity: str | None
    title: str
    online: bool


def signed_in() -> bool:
    """Whether runs can be published now: there are credentials, and WANDB_MODE does not say otherwise; asks nobody."""
    import wandb

    online = os.environ.get("WANDB_MODE", "online") == "online"
    return online and bool(wandb.login(prompt=False, verify=False))


def log_runs(found: Sequence[Section], columns: Sequence[Metric], place: Place, media: int) -> int:
    """Log every entry, and what frames them (measurement, clean clip) where videos were kept; returns the entries."""
    place.output.mkdir(parents=True, exist_ok=True)
    for section in found:
        for entry in section.entries:
            _log(section, entry, columns, place, media)
        _log_framing(section, place, media)
    return sum(len(section.entries) for section in found)


def section_key(section: Section) -> str:
    """What tells a section apart in a filter: its clips, task, length and size."""
    size = "x".join(str(side) for side in section.size)
    return " ".join(str(part) for part in (section.task, section.clips, section.frames, size))


def summary_of(entry: Entry) -> dict[str, float]:
    """Metric -> mean over clips."""
    return {
        name: sum(values.values()) / len(values) for name, values in entry.values.items() if values
    }


def media_keys(section: Section, media: int) -> list[str]:
    """The keys under which the videos of the first `media` clips that have some are logged."""
    kept = [clip for clip in section.clip_names if any(True for _ in videos_of(section, clip))]
    return [_media_key(clip) for clip in kept[:media]]


def _log(
    section: Section,
    entry: Entry,
    columns: Sequence[Metric],
    place: Place,
    media: int,
) -> None:
    import wandb

    about = {"method": entry.method, "settings": " · ".join(entry.settings)}
    with _run(section, entry.name, about, place) as run:
        names = [q.name for q in columns if q.name in entry.values]
        table = wandb.Table(columns=["clip", *names])
        for clip in section.clip_names:
            if clip in entry.rows:
                table.add_data(clip, *[entry.values[name].get(clip) for name in names])
        # the last value logged is the run's summary; panels read one or the other
        run.log({**summary_of(entry), "clips": table, **_videos(section, entry.name, media)})


def _log_framing(section: Section, place: Place, media: int) -> None:
    """A run each for the measurement and the clean clip where their videos were kept, to look at beside the others."""
    entries = {entry.name for entry in section.entries}
    names = {name for clip in section.clip_names for name, _, _ in videos_of(section, clip)}
    for name in sorted(names - entries):
        videos = _videos(section, name, media)
        if videos:
            with _run(section, name, {"method": name}, place) as run:
                run.log(videos)


@contextmanager
def _run(section: Section, name: str, about: dict[str, Any], place: Place) -> Iterator[Any]:
    import wandb

    tags = [tag for tag in (section.task, section.clips, about["method"]) if tag]
    with wandb.init(
        project=place.project,
        entity=place.entity,
        dir=str(place.output),
        name=f"{section.task} {name}",
        group=section_key(section),
        job_type=JOB,
        tags=list(dict.fromkeys(tag[:LONGEST_TAG] for tag in tags)),
        config={
            "report": place.title,
            "section": section_key(section),
            "task": section.task,
            "clips": section.clips,
            "frames": section.frames,
            "size": list(section.size),
            **about,
        },
        mode="online" if place.online else "offline",
        # publishing again goes on with the same runs rather than doubling them
        id=sha256(f"{place.title}/{section_key(section)}/{name}".encode()).hexdigest()[:16],
        resume="allow" if place.online else None,
        reinit="create_new",
        settings=wandb.Settings(silent=True, console="off"),
    ) as run:
        yield run


def _videos(section: Section, name: str, media: int) -> dict[str, Any]:
    import wandb

    shown = media_keys(section, media)
    return {
        _media_key(clip): wandb.Video(str(path), format="mp4", caption=name)
        for clip in section.clip_names
        for title, path, _ in videos_of(section, clip)
        if title == name and _media_key(clip) in shown
    }


def _media_key(clip: str) -> str:
    return f"clips/{clip}"
