"""The plan as one dict, as tables on the terminal and as Markdown."""

from typing import Any

from rich.console import Console, Group
from rich.table import Table

from lvis.markdown import markdown_table
from lvis.plan.gpus import GB

FORMAT = "lvis-plan-1"
TERA = 1e12
Plan = dict[str, Any]
Rows = list[tuple[str, ...]]


def tables(plan: Plan) -> list[tuple[str, tuple[str, ...], Rows]]:
    """(title, headings, rows) of everything that is printed."""
    found: list[tuple[str, tuple[str, ...], Rows]] = [
        ("run", ("", ""), [(k, str(v)) for k, v in plan["what"].items()]),
        ("memory per GPU", ("part", "GB"), _memory_rows(plan["memory"])),
        ("peaks", _MOMENTS, _moment_rows(plan["memory"])),
        ("operations per training step and GPU", ("", "TFLOP"), _operation_rows(plan)),
        ("time", ("", ""), [(k, _number(v)) for k, v in plan["time"].items()]),
    ]
    if "check" in plan:
        found.append(("check on this CPU", ("", "planned", "measured", "ratio"), _check_rows(plan)))
    return found


def show(plan: Plan, console: Console) -> None:
    """Print the tables and the notes."""
    parts: list[Any] = []
    for title, headings, rows in tables(plan):
        table = Table(title=title, title_justify="left", show_header=any(headings))
        for index, heading in enumerate(headings):
            table.add_column(heading, justify="right" if index else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        parts.append(table)
    console.print(Group(*parts))
    for note in plan["notes"]:
        console.print(f"- {note}", markup=False, highlight=False)


def markdown(plan: Plan) -> str:
    """The tables and the notes as a Markdown page."""
    lines = [f"# {plan['what']['run']}", ""]
    for title, headings, rows in tables(plan):
        lines += [f"## {title}", "", markdown_table(headings, rows, right=True), ""]
    lines += [f"- {note}" for note in plan["notes"]]
    return "\n".join(lines) + "\n"


_MOMENTS = ("moment", "GB on top", "total GB", "in", "the largest of it")


def _memory_rows(memory: Plan) -> Rows:
    rows: Rows = [(name, _gb(value)) for name, value in memory["persistent"].items()]
    rows.append(("throughout, in all", _gb(memory["persistent_bytes"])))
    rows += [(name, _gb(value)) for name, value in memory["for a while"].items()]
    rows.append(("peak, in all", _gb(memory["peak_bytes"])))
    for size, fits in memory["fits"].items():
        rows.append((f"fits {size} GB", "yes" if fits else "no"))
    return rows


def _moment_rows(memory: Plan) -> Rows:
    rows: Rows = []
    for name, moment in memory["moments"].items():
        largest = sorted(moment["parts"].items(), key=lambda item: -item[1])[:3]
        rows.append(
            (
                name,
                _gb(moment["bytes"]),
                _gb(moment["bytes"] + memory["persistent_bytes"]),
                moment["stage"],
                ", ".join(f"{part} {_gb(size)}" for part, size in largest),
            )
        )
    return rows


def _operation_rows(plan: Plan) -> Rows:
    rows: Rows = []
    for name, operations in plan["operations"].items():
        rows.append((name, _tera(operations["all"])))
        for group in ("by kind", "by stage", "by precision"):
            for part, value in operations.get(group, {}).items():
                rows.append((f"  {group[3:]}: {part}", _tera(value)))
    return rows


def _check_rows(plan: Plan) -> Rows:
    rows: Rows = []
    for name, (planned, measured) in plan["check"].items():
        ratio = f"{planned / measured:.3f}" if measured else "-"
        rows.append((name, f"{planned:.6g}", f"{measured:.6g}", ratio))
    return rows


def _gb(size: float) -> str:
    return f"{size / GB:.3g}" if size < GB else f"{size / GB:.1f}"


def _tera(operations: float) -> str:
    return f"{operations / TERA:.3g}" if operations < 100 * TERA else f"{operations / TERA:.0f}"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
