"""The same comparison on Weights & Biases: a run for every entry of a section, and a report over them.

Without an account, or with WANDB_MODE=offline, the runs are written to disk and `wandb sync` publishes them later.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lvis.evaluation.table import Row
from lvis.reporting.media import videos_of
from lvis.reporting.quantities import RATE, Quantity
from lvis.reporting.results import Entry, Section, quantities, sections
from lvis.restoring.progress import say

JOB = "lvis.report"


@dataclass(frozen=True)
class Place:
    """Where the runs go; the report's run sets find theirs by `title` and the section."""

    output: Path
    project: str
    entity: str | None
    title: str
    online: bool


def publish(
    rows: Sequence[Row], output: Path, title: str, project: str, entity: str | None, media: int
) -> Path:
    """Log every entry as a run, then save the report where that is possible; returns `output`/wandb.

    What stands in the way of the report (no account, no wandb-workspaces) is said in a sentence; the runs are there
    either way.

    Args:
        media: of so many clips of a section the videos are logged.
    """
    import wandb

    found, columns = sections(rows), quantities(rows)
    online = os.environ.get("WANDB_MODE", "online") == "online" and bool(wandb.api.api_key)
    output.mkdir(parents=True, exist_ok=True)
    place = Place(output, project, entity, title, online)
    for section in found:
        for entry in section.entries:
            _log(section, entry, columns, place, media)
        _log_framing(section, place, media)
    count = sum(len(section.entries) for section in found)
    where = "published" if online else f"written to {output / 'wandb'}; `wandb sync` publishes them"
    say(f"{count} runs {where}")
    if find_spec("wandb_workspaces") is None:
        say(
            "the report itself needs wandb-workspaces, which is not installed: pip install wandb-workspaces"
        )
        return output / "wandb"
    report = build(
        found, columns, title, project, entity or (online and wandb.api.default_entity) or ""
    )
    if online:
        report.save()
        say(f"report: {report.url}")
    else:
        say("the report is saved once `wandb login` was done; repeat the command then")
    return output / "wandb"


def build(
    found: Iterable[Section], columns: Sequence[Quantity], title: str, project: str, entity: str
) -> Any:
    """The report of wandb-workspaces: for every section a run set, a panel a column, a scatter and the videos.

    Raises:
        ImportError: wandb-workspaces is not installed.
    """
    import wandb_workspaces.reports.v2 as api
    import wandb_workspaces.workspaces as workspaces

    blocks: list[Any] = [api.TableOfContents()]
    for section in found:
        measured = [q for q in columns if any(q.name in entry.values for entry in section.entries)]
        panels: list[Any] = [
            api.BarPlot(title=column.heading, metrics=[column.name]) for column in measured
        ]
        quality = next((q for q in measured if not q.speed), None)
        if quality is not None and any(q.name == RATE for q in measured):
            panels.append(api.ScatterPlot(x=RATE, y=quality.name, log_x=True))
        panels.append(api.MediaBrowser(media_keys=[f"clips/{clip}" for clip in section.clip_names]))
        runs = api.Runset(
            entity=entity,
            project=project,
            name=section.name,
            filters=[
                workspaces.Config("section") == section_key(section),
                workspaces.Config("report") == title,
            ],
        )
        blocks += [api.H2(section.name), api.PanelGrid(runsets=[runs], panels=panels)]
    return api.Report(project=project, entity=entity, title=title, blocks=blocks)


def section_key(section: Section) -> str:
    """What tells a section apart in a filter: its clips, task, length and size."""
    size = "x".join(str(side) for side in section.size)
    return " ".join(str(part) for part in (section.task, section.clips, section.frames, size))


def summary_of(entry: Entry) -> dict[str, float]:
    """Metric -> mean over clips."""
    return {
        name: sum(values.values()) / len(values) for name, values in entry.values.items() if values
    }


def _log(
    section: Section,
    entry: Entry,
    columns: Sequence[Quantity],
    place: Place,
    media: int,
) -> None:
    import wandb

    about = {"method": entry.method, "settings": " · ".join(entry.settings)}
    with _run(section, entry.name, about, place) as run:
        run.summary.update(summary_of(entry))
        names = [q.name for q in columns if q.name in entry.values]
        table = wandb.Table(columns=["clip", *names])
        for clip in section.clip_names:
            if clip in entry.rows:
                table.add_data(clip, *[entry.values[name].get(clip) for name in names])
        run.log({"clips": table, **_videos(section, entry.name, media)})


def _log_framing(
    section: Section,
    place: Place,
    media: int,
) -> None:
    """A run each for the measurement and the clean clip where their videos were kept, to look at beside the others."""
    entries = {entry.name for entry in section.entries}
    names = {name for clip in section.clip_names for name, _, _ in videos_of(section, clip)}
    for name in sorted(names - entries):
        videos = _videos(section, name, media)
        if videos:
            with _run(section, name, {"method": name}, place) as run:
                run.log(videos)


@contextmanager
def _run(
    section: Section,
    name: str,
    about: dict[str, Any],
    place: Place,
) -> Iterator[Any]:
    import wandb

    with wandb.init(
        project=place.project,
        entity=place.entity,
        dir=str(place.output),
        name=f"{section.task} {name}",
        group=section_key(section),
        job_type=JOB,
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

    videos: dict[str, Any] = {}
    for clip in section.clip_names:
        for title, path, _ in videos_of(section, clip):
            if title == name and len(videos) < media:
                videos[f"clips/{clip}"] = wandb.Video(str(path), format="mp4", caption=name)
    return videos
