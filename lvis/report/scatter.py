"""Quality against speed as an inline SVG, coloured by the page's style sheet."""

import io
import re
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from lvis.metrics import Metric
from lvis.report.quantities import RATE
from lvis.report.results import Section
from lvis.statistics import interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = 8  # that the style sheet has, --c0 to --c7
# colours that stand for the style sheet's, which follow the reader's dark mode
_INK = "#010203"
_INKS = {f"#0102{16 + index:02x}": f"var(--c{index})" for index in range(COLOURS)}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lvis",
    "text.parse_math": False,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "grid.color"), _INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), _INK),
}


def scatter(section: Section, column: Metric, confidence: float) -> Markup | None:
    """`plot` as SVG; None when no entry has both a quality and a speed."""
    from matplotlib import rc_context

    with rc_context(_STYLE):
        figure = plot(section, column, confidence)
        if figure is None:
            return None
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata=_NO_METADATA)
    svg = text.getvalue()
    # several pictures share a page: only what is referred to keeps its name
    svg = re.sub(r' id="[a-z]+[a-zA-Z]*_\d+"', "", svg[svg.index("<svg") :])
    for stand_in, colour in (_INKS | {_INK: "var(--soft)"}).items():
        svg = svg.replace(stand_in, colour)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    title = f"{section.name}: {column.title} against frames per second"
    label = Markup(' role="img" aria-label="{}"').format(title)
    return Markup(svg.replace("<svg", f"<svg{label}", 1))


def plot(section: Section, column: Metric, confidence: float) -> "Figure | None":
    """One point per entry, frames per second (logarithmic) by the mean of `column` with its interval.

    Entries that nothing timed (what frames a solver: D(E(y)), D(E(x))) are dashed lines across.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(4.4, 3.4), layout="constrained")
    axes = figure.subplots()
    speeds: list[float] = []
    for index, entry in enumerate(section.entries):
        colour = list(_INKS)[index % COLOURS]
        quality = interval(list(entry.values.get(column.name, {}).values()), confidence)
        rates = list(entry.values.get(RATE, {}).values())
        if quality is None:
            continue
        if rates:
            speeds.append(sum(rates) / len(rates))
            spread = quality.half or 0
            axes.errorbar(speeds[-1], quality.mean, spread, fmt="o", color=colour, label=entry.name)
        else:
            axes.axhline(quality.mean, linestyle="--", linewidth=1, color=colour, label=entry.name)
    if not speeds:
        return None
    unit = f" ({column.unit})" if column.unit else ""
    axes.set(xscale="log", xlabel="frames per second", ylabel=f"{column.title}{unit}")
    fastest, slowest = max(speeds), min(speeds)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if fastest < 50 * slowest else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(0.12)
    axes.grid(alpha=0.2)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure
