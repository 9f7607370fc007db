"""Quality against speed as an inline SVG, coloured by the page's style sheet."""

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from lvis.report.quantities import RATE, Quantity
from lvis.report.results import Section
from lvis.statistics import Interval, interval

WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 14, 40
COLOURS = 8  # that the style sheet has, --c0 to --c7
LABEL = 13  # pixels between the baselines of two labels


def scatter(section: Section, column: Quantity, confidence: float) -> Markup | None:
    """One point an entry, frames per second (logarithmic) by the mean of `column` with its interval.

    Entries that nothing timed (what frames a solver: D(E(y)), D(E(x))) are dashed lines across. None when no entry
    has both a quality and a speed.
    """
    points, lines = [], []
    for index, entry in enumerate(section.entries):
        values = list(entry.values.get(column.name, {}).values())
        quality, rates = interval(values, confidence), list(entry.values.get(RATE, {}).values())
        if quality is None:
            continue
        if rates:
            points.append((index % COLOURS, entry.name, sum(rates) / len(rates), quality))
        else:
            lines.append((index % COLOURS, entry.name, quality))
    if not points:
        return None
    x = _LogAxis([rate for _, _, rate, _ in points], LEFT, WIDTH - RIGHT)
    y = _Axis([*(point[3] for point in points), *(line[2] for line in lines)], HEIGHT - BOTTOM, TOP)
    parts, labels = [_frame(x, y, column)], []
    taken: list[tuple[float, float, float]] = []
    for colour, name, quality in lines:
        height = y(quality.mean)
        parts.append(
            f'<line class="s{colour} dash" x1="{LEFT}" x2="{WIDTH - RIGHT}" '
            f'y1="{height:.1f}" y2="{height:.1f}"/>'
        )
        labels.append(_label(name, LEFT + 6, height - 5, "start", colour, taken))
    for colour, name, rate, quality in points:
        across, up, half = x(rate), y(quality.mean), quality.half or 0.0
        parts.append(
            f'<g class="s{colour}"><title>{escape(name)}: {quality.mean:.{column.digits}f} {column.unit}, '
            f"{rate:.1f} frames/s</title>"
            f'<line x1="{across:.1f}" x2="{across:.1f}" y1="{y(quality.mean - half):.1f}" '
            f'y2="{y(quality.mean + half):.1f}"/><circle cx="{across:.1f}" cy="{up:.1f}" r="5"/></g>'
        )
        right = across < WIDTH * 0.62
        labels.append(
            _label(
                name,
                across + (9 if right else -9),
                up + 4,
                "start" if right else "end",
                colour,
                taken,
            )
        )
    title = f"{section.name}: {column.title} against frames per second"
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        + "".join([*parts, *labels])
        + "</svg>"
    )


def _label(
    name: str, x: float, y: float, anchor: str, colour: int, taken: list[tuple[float, float, float]]
) -> str:
    # moved down, then up, until it covers no other label
    width = 6.4 * len(name)
    left = x if anchor == "start" else x - width
    for shift in (0, 1, -1, 2, -2, 3, -3):
        place = y + shift * LABEL
        free = all(
            left > right or left + width < start or abs(place - height) >= LABEL
            for start, right, height in taken
        )
        if free and TOP <= place <= HEIGHT - BOTTOM - 3:
            break
    taken.append((left, left + width, place))
    return (
        f'<text class="label t{colour}" x="{x:.1f}" y="{place:.1f}" text-anchor="{anchor}">'
        f"{escape(name)}</text>"
    )


class _Axis:
    """Linear over the values and their intervals, with room at both ends and ticks at round numbers."""

    def __init__(self, values: Sequence[Interval], start: float, end: float) -> None:
        low = min(v.mean - (v.half or 0) for v in values)
        high = max(v.mean + (v.half or 0) for v in values)
        room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
        self.low, self.high = low - room, high + room
        self._start, self._end = start, end
        step = 10 ** math.floor(math.log10((self.high - self.low) / 3))
        step *= next(m for m in (1, 2, 5, 10) if (self.high - self.low) / (m * step) <= 6)
        first = math.ceil(self.low / step)
        self.ticks = [n * step for n in range(first, math.floor(self.high / step) + 1)]
        self.digits = max(0, -math.floor(math.log10(step)))

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self._start + share * (self._end - self._start)


class _LogAxis:
    """Logarithmic, with ticks at 1, 2, 5 of a decade where there are few decades and at 1 where there are many."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = math.log10(min(values)), math.log10(max(values))
        room = max(0.12 * (high - low), 0.2)
        self.low, self.high = low - room, high + room
        self._start, self._end = start, end
        steps = (1, 2, 5) if self.high - self.low < 2.2 else (1,)
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        self.ticks = [tick for tick in ticks if self.low <= math.log10(tick) <= self.high]

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self._start + share * (self._end - self._start)


def _frame(x: _LogAxis, y: _Axis, column: Quantity) -> str:
    bottom = HEIGHT - BOTTOM
    parts = []
    for tick in y.ticks:
        height = y(tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>'
            f'<text x="{LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{tick:.{y.digits}f}</text>'
        )
    for value in x.ticks:
        across = x(value)
        parts.append(
            f'<line class="grid" x1="{across:.1f}" x2="{across:.1f}" y1="{TOP}" y2="{bottom}"/>'
            f'<text x="{across:.1f}" y="{bottom + 15}" text-anchor="middle">{value:g}</text>'
        )
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">frames per second</text>'
        f'<text transform="translate(11 {(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(column.title)}{escape(f' ({column.unit})' if column.unit else '')}</text>"
    )
    return "".join(parts)
