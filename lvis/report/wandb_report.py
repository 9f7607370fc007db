"""The report of wandb-workspaces over the runs of an evaluation: run sets, panels and videos, section by section.

The page that needs no account is in page.py; both read the same results.jsonl.
"""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lvis.cli.progress import say
from lvis.errors import UserError
from lvis.evaluate.table import Row
from lvis.metrics import Metric
from lvis.report.quantities import RATE
from lvis.report.results import Section, quantities, sections
from lvis.report.wandb_runs import Place, log_runs, media_keys, section_key, signed_in

LONGEST_TITLE = 128  # characters, W&B's limit
GRID = 24  # columns of a panel grid
BAR, HEIGHT, MEDIA_HEIGHT = 8, 7, 12


def publish(
    rows: Sequence[Row], output: Path, title: str, project: str, entity: str | None, media: int
) -> Path:
    """Log every entry as a run, then save the report where that is possible; returns `output`/wandb.

    One sentence reports what prevents the report (no account, no wandb-workspaces); the runs are there
    either way.

    Args:
        media: log the videos of the first N clips of a section.

    Raises:
        UserError: a title that W&B does not take, or a server that does not take the report.
    """
    if len(title) > LONGEST_TITLE:
        raise UserError(
            f"title={title} has {len(title)} characters; W&B takes at most {LONGEST_TITLE}"
        )
    found, columns = sections(rows), quantities(rows)
    place = Place(output, project, entity, title, signed_in())
    count = log_runs(found, columns, place, media)
    where = (
        "published"
        if place.online
        else f"written to {output / 'wandb'}; `wandb sync` publishes them"
    )
    say(f"{count} runs {where}")
    if find_spec("wandb_workspaces") is None:
        say("the report itself needs wandb-workspaces: pip install 'lvis[wandb]'")
    elif not place.online:
        say("the report is saved once `wandb login` was done; repeat the command then")
    else:
        say(f"report: {_save(found, columns, place, media)}")
    return output / "wandb"


def build(found: Iterable[Section], columns: Sequence[Metric], place: Place, media: int) -> Any:
    """A `wandb_workspaces.reports.v2.Report`: for every section a run set, a bar panel per quantity, quality against
    speed, and the videos of all methods side by side.

    Nothing is sent, and without an entity in `place` nothing is asked either.

    Raises:
        ImportError: wandb-workspaces is not installed.
    """
    import wandb_workspaces.reports.v2 as api

    blocks: list[Any] = [api.TableOfContents()]
    for section in found:
        measured = [q for q in columns if any(q.name in entry.values for entry in section.entries)]
        blocks += [
            api.H2(section.name),
            api.PanelGrid(
                runsets=[_run_set(section, measured, place)],
                panels=_panels(section, measured, media),
            ),
        ]
    return api.Report(
        project=place.project,
        entity=place.entity or "",
        title=place.title,
        blocks=blocks,
        width="fluid",
    )


def _run_set(section: Section, measured: Sequence[Metric], place: Place) -> Any:
    """The section's runs, the best first, with the method and the quantities as the only columns."""
    import wandb_workspaces.reports.v2 as api

    # repr, because the filter is read as a Python expression and a title may hold quotes
    wanted = {"section": section_key(section), "report": place.title}
    filters = " and ".join(f"Config({key!r}) == {value!r}" for key, value in wanted.items())
    ranked = next((q for q in measured if q.better and not q.is_speed), None)
    order = (
        [api.OrderBy(api.SummaryMetric(ranked.name), ascending=ranked.better < 0)] if ranked else []
    )
    return api.Runset(
        entity=place.entity or "",
        project=place.project,
        name=section.name,
        filters=filters,
        order=order,
        pinned_columns=["config:method.value"],
        visible_columns=["config:settings.value", *(f"summary:{q.name}" for q in measured)],
        lock_columns=True,
    )


def _panels(section: Section, measured: Sequence[Metric], media: int) -> list[Any]:
    import wandb_workspaces.reports.v2 as api

    panels: list[Any] = [api.BarPlot(title=q.caption, metrics=[q.name]) for q in measured]
    quality = next((q for q in measured if not q.is_speed), None)
    if quality is not None and any(q.name == RATE for q in measured):
        panels.append(
            api.ScatterPlot(
                title=f"{quality.title} against speed",
                x=api.SummaryMetric(RATE),
                y=api.SummaryMetric(quality.name),
                log_x=True,
            )
        )
    per_row = GRID // BAR
    for number, panel in enumerate(panels):
        panel.layout = api.Layout(
            BAR * (number % per_row), HEIGHT * (number // per_row), BAR, HEIGHT
        )
    top = HEIGHT * -(-len(panels) // per_row)
    for number, key in enumerate(media_keys(section, media)):
        place = api.Layout(0, top + MEDIA_HEIGHT * number, GRID, MEDIA_HEIGHT)
        clip = key.partition("/")[2]
        panels.append(
            api.MediaBrowser(title=clip, media_keys=[key], gallery_axis="run", layout=place)
        )
    return panels


def _save(found: Sequence[Section], columns: Sequence[Metric], place: Place, media: int) -> str:
    """The address of the saved report."""
    import wandb

    try:
        entity = place.entity or wandb.Api().default_entity
        owned = Place(place.output, place.project, entity, place.title, place.online)
        report = build(found, columns, owned, media)
        report.save()
    except Exception as error:  # whatever the transport raises; the runs are safe already
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"the runs are published but W&B did not take the report ({reason}); repeat the command"
        ) from error
    return str(report.url)
