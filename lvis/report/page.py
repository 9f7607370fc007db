"""The static page: index.html, with its style and script inside, beside the media that it shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from lvis.evaluate.table import Row
from lvis.files import write_text
from lvis.metrics import Metric
from lvis.report import configs, tables
from lvis.report.media import ClipMedia, collect
from lvis.report.results import Entry, Section, quantities, sections
from lvis.report.scatter import COLOURS, scatter


@dataclass(frozen=True)
class PageSettings:
    """The keys of conf/report.yaml that the page needs, and the command that makes it again."""

    title: str
    reference: str
    confidence: float
    media: int
    command: str
    version: str


@dataclass(frozen=True)
class _View:
    """A section and everything that is shown of it; (column or entry, content) pairs are choices of a menu."""

    section: Section
    about: str
    means: list[tables.Line]
    scatters: list[tuple[Metric, Markup]]
    differences: list[tuple[Entry, list[tables.Line]]]
    clips: list[tuple[str, list[tables.Line], ClipMedia]]


def write_page(rows: Sequence[Row], output: Path, settings: PageSettings) -> Path:
    """Write `output`/index.html and `output`/media; returns the path of the page.

    The page loads nothing from elsewhere, so the folder can be moved, sent or put on any web server.

    Raises:
        UserError: the folder cannot be written.
    """
    found, columns = sections(rows), quantities(rows)
    views = [_view(section, columns, output, settings) for section in found]
    environment = Environment(
        loader=PackageLoader("lvis.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def link(path: Path) -> str:
        return quote(path.relative_to(output).as_posix())

    def size(picture: Path) -> Markup:
        with Image.open(picture) as image:
            return Markup(f'width="{image.width}" height="{image.height}"')

    environment.filters |= {"link": link, "size": size}
    unmeasured = [q for q in columns if not _measured(q, found)]
    html = environment.get_template("page.html.j2").render(
        settings=settings,
        columns=columns,
        views=views,
        overview=_overview(found, columns, settings.confidence) if len(found) > 1 else [],
        configs=configs.differences(rows),
        count=len(rows),
        colours=COLOURS,
        unmeasured={q.name for q in unmeasured},
        reasons=[(q, reason) for q in unmeasured if (reason := _reason(q, rows))],
    )
    write_text(output / "index.html", html)
    return output / "index.html"


def _view(
    section: Section, columns: Sequence[Metric], output: Path, settings: PageSettings
) -> _View:
    pictures = [
        (column, picture)
        for column in columns
        if not column.is_speed
        and (picture := scatter(section, column, settings.confidence)) is not None
    ]
    # the configured reference is the first choice of the menu
    entries = sorted(section.entries, key=lambda entry: entry.method != settings.reference)
    media = collect(section, output, settings.media)
    return _View(
        section,
        _about(section),
        tables.means(section, columns, settings.confidence),
        pictures,
        [
            (entry, tables.differences(section, entry, columns, settings.confidence))
            for entry in entries
            if len(section.entries) > 1
        ],
        [
            (clip, tables.clip_lines(section, clip, columns), media[clip])
            for clip in section.clip_names
        ],
    )


def _about(section: Section) -> str:
    count = len(section.clip_names)
    words = f"{count} clip{'s' * (count != 1)}"
    if section.frames:
        words += f", {section.frames} frames"
    if section.size:
        words += f" of {section.size[1]} × {section.size[0]} pixels"
    if len({len(entry.rows) for entry in section.entries}) > 1:
        words += (
            ". A mean is over the clips that its method was run on; where these differ, compare the paired "
            "differences, which are over shared clips."
        )
    return words


def _overview(
    found: Sequence[Section], columns: Sequence[Metric], confidence: float
) -> list[tuple[Metric, list[tuple[str, list[tables.Cell]]]]]:
    """For every column a table of its own: one line per entry, one cell per section."""
    names = list(dict.fromkeys(entry.name for section in found for entry in section.entries))
    choices = []
    for column in columns:
        cells: dict[str, list[tables.Cell]] = {name: [] for name in names}
        for section in found:
            lines = {line.name: line for line in tables.means(section, [column], confidence)}
            for name in names:
                cells[name].append(lines[name].cells[0] if name in lines else tables.Cell("–"))
        choices.append((column, list(cells.items())))
    return choices


def _measured(column: Metric, found: Sequence[Section]) -> bool:
    return any(column.name in entry.values for section in found for entry in section.entries)


def _reason(column: Metric, rows: Sequence[Row]) -> str:
    """What the first row that says so gives as the reason for a column without numbers."""
    told = (row.get("unmeasured") for row in rows)
    return next((str(one[column.name]) for one in told if one and column.name in one), "")
