"""The README.md of one table or figure, as Markdown. Written by a program, so that every number has a source."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from lvis.evaluate.table import Row
from lvis.markdown import markdown_table
from paper_tables.claims import Verdict, verdicts
from paper_tables.config import NOT_RUN, OUTCOMES, Column, Experiment, Group, Number
from paper_tables.selection import Selection, provenance

NOTHING, UNMEASURED = "-", "unmeasured"
WRITTEN_BY = (
    "<!-- written by experiments/render.py from config.yaml and the results; do not edit -->"
)
_COMMIT_DIGITS = 12


def page(experiment: Experiment, root: Path) -> str:
    """The whole page; `root` is the repository, which its paths are relative to."""
    selection = Selection(experiment)
    parts = [WRITTEN_BY, f"# {experiment.title}", _commands(experiment, root)]
    parts += ["## Last result", _origin(selection), *_results(selection), *_pictures(selection)]
    parts += _elsewhere(selection)
    if experiment.claims:
        parts += ["## Verdict", *_verdict(selection)]
    parts += ["## What is and is not comparable", experiment.comparable]
    if experiment.notes:
        parts.append(experiment.notes)
    return "\n\n".join(part for part in parts if part) + "\n"


def outcomes(experiment: Experiment) -> dict[str, int]:
    """How often each outcome occurs among the claims' verdicts."""
    selection = Selection(experiment)
    found = dict.fromkeys(OUTCOMES, 0)
    for claim in experiment.claims:
        for verdict in verdicts(selection, claim):
            found[verdict.outcome] += 1
    return {outcome: count for outcome, count in found.items() if count}


def last_run(selection: Selection) -> str:
    """The date of the newest row, and what is known where rows have none."""
    if not selection.used():
        return "not yet run"
    dates = provenance(selection.used(), "date")
    return dates[-1] if dates else "date not recorded"


def origin(rows: Sequence[Row]) -> str:
    """Dates, commits, weights and processors of rows, and whether some have none."""
    dates, commits = provenance(rows, "date"), [_short(c) for c in provenance(rows, "code")]
    weights = provenance(rows, "weights")
    machines = list(dict.fromkeys(map(_processor, provenance(rows, "machine"))))
    known = [
        f"run {' and '.join(dates)}" if dates else "",
        f"commit {', '.join(dict.fromkeys(commits))}" if commits else "",
        f"bundled weights {', '.join(weights)}" if weights else "",
        f"on {' and '.join(machines)}" if machines else "",
    ]
    told = ", ".join(text for text in known if text)
    if any(not row.get("code") or not row.get("date") for row in rows):
        told += ("; " if told else "") + "some rows predate the recording of date and commit"
    return told


def _processor(machine: str) -> str:
    """The first of what a row's `machine` says: rates of two processors do not compare."""
    return machine.removeprefix("processor ").split(",")[0]


def _commands(experiment: Experiment, root: Path) -> str:
    folder = experiment.folder.relative_to(root).as_posix()
    minutes = f"{experiment.minutes:g} minute{'' if experiment.minutes == 1 else 's'}"
    paper = experiment.paper
    about = (
        [f"The paper: {paper['name']}, {paper['where']}. {paper['setup']}".strip(), ""]
        if paper
        else []
    )
    lines = [
        *about,
        f"In the tiny world (about {minutes} on one core if nothing has been computed yet):",
        "",
        f"    {folder}/run.sh",
        "",
        "At full size:",
        "",
        *(f"    {line}".rstrip() for line in experiment.full.splitlines()),
    ]
    return "\n".join(lines)


def _origin(selection: Selection) -> str:
    experiment, rows = selection.experiment, selection.used()
    files = [_relative(path, experiment.folder) for path in experiment.results]
    if not rows:
        return f"**Not yet run.** {experiment.ours}"
    there = [name for name in files if (experiment.folder / name).is_file()]
    where = ", ".join(f"[{name}]({name})" for name in there)
    lines = [
        f"Rows: {where} ({origin(rows)}).",
        experiment.ours,
        f"Mean over {experiment.over} ± half of its 95 % interval, n {experiment.over}.",
    ]
    if any(commit.endswith("+") for commit in provenance(rows, "code")):
        lines.append("A + after a commit means that files differed from it.")
    return " ".join(lines)


def _short(commit: str) -> str:
    return commit[:_COMMIT_DIGITS] + ("+" if commit.endswith("+") else "")


def _results(selection: Selection) -> list[str]:
    experiment = selection.experiment
    if not selection.used():
        return []
    parts = []
    for clips in selection.clip_sets():
        of_clips = f"{clips} clips" if clips else ""
        if experiment.together:
            parts.append(_titled(of_clips, _whole(selection, clips)))
            continue
        for group in experiment.groups:
            columns = [experiment.columns[name] for name in group.columns]
            columns = [column for column in columns if _measured(selection, group, column)]
            if columns:
                title = ", ".join(text for text in (group.name, of_clips) if text)
                parts.append(_titled(title, _block(selection, clips, group, columns)))
    return parts


def _titled(title: str, table: str) -> str:
    return f"**{title}**\n\n{table}" if title else table


def _whole(selection: Selection, clips: str) -> str:
    """All groups in one table; a row that a group cannot have says why in place of its first number."""
    experiment = selection.experiment
    columns = [
        column
        for column in experiment.columns.values()
        if any(_measured(selection, group, column) for group in experiment.groups)
    ]
    lines = []
    for group in experiment.groups:
        for row in experiment.rows:
            means = [selection.mean(clips, group, row, column) for column in columns]
            count = max((mean.count for mean in means if mean), default=0)
            cells = [
                mean.show(column.digits) if mean else NOTHING
                for mean, column in zip(means, columns, strict=True)
            ]
            if not count:
                cells[0] = row.absent.get(group.id) or row.note or NOT_RUN
            lines.append([group.name, row.name, str(count) if count else NOTHING, *cells])
    return markdown_table(
        [experiment.together, "", "n", *(column.heading for column in columns)], lines
    )


def _pictures(selection: Selection) -> list[str]:
    """The experiment's pictures, which are of its rows: none without them."""
    experiment = selection.experiment
    there = [name for name in experiment.pictures if (experiment.folder / name).is_file()]
    shown = there if selection.used() else []
    titles = {name: experiment.title for name in shown[:1]} if len(shown) == 1 else {}
    return [f"![{titles.get(name, Path(name).stem)}]({name})" for name in shown]


def _block(selection: Selection, clips: str, group: Group, columns: Sequence[Column]) -> str:
    experiment = selection.experiment
    papers = {
        column.id: {
            row.id: number
            for row in experiment.rows
            if (number := experiment.paper_number(group.id, row.id, column.id)) is not None
        }
        for column in columns
    }
    head = ["", "n"]
    for column in columns:
        head += [column.heading, *(["paper"] if papers[column.id] else [])]
    lines = []
    for row in experiment.rows:
        means = {column.id: selection.mean(clips, group, row, column) for column in columns}
        if not any(means.values()) and not any(row.id in numbers for numbers in papers.values()):
            continue
        count = max((mean.count for mean in means.values() if mean), default=0)
        line = [row.name, str(count) if count else NOTHING]
        for column in columns:
            mean = means[column.id]
            line.append(mean.show(column.digits) if mean else NOTHING)
            if papers[column.id]:
                line.append(_print(papers[column.id].get(row.id)))
        lines.append(line)
    return markdown_table(head, lines)


def _measured(selection: Selection, group: Group, column: Column) -> bool:
    return any(
        selection.values(clips, group, line, column)
        for clips in selection.clip_sets()
        for line in selection.experiment.rows
    )


def _elsewhere(selection: Selection) -> list[str]:
    """The columns that we have no number for, with the reason and the paper's; rows that we have not, likewise."""
    experiment = selection.experiment
    missing = [
        (group, [c for name in group.columns if not _measured(selection, group, c := experiment.columns[name])])
        for group in experiment.groups
    ]  # fmt: skip
    parts = []
    named = {column.id: column for _, columns in missing for column in columns}
    if named and not selection.used():
        parts.append(f"Unmeasured here: {', '.join(c.title for c in named.values())}: not yet run.")
    elif named:
        reasons = defaultdict(list)
        for column in named.values():
            without = [group.name for group, columns in missing if column in columns]
            if len(without) < sum(column.id in group.columns for group in experiment.groups):
                reasons[f"not yet run for {', '.join(without)}"].append(column.title)
            else:
                reason = selection.unmeasured(column) or "no row has a number"
                reasons[reason].append(column.title)
        told = "; ".join(f"{', '.join(titles)}: {reason}" for reason, titles in reasons.items())
        parts.append(f"Unmeasured here: {told}.")
    tables = []
    for group, columns in missing:
        lines = [
            [row.name, *(_print(experiment.paper_number(group.id, row.id, c.id)) for c in columns)]
            for row in experiment.rows
            if any(experiment.paper_number(group.id, row.id, c.id) is not None for c in columns)
        ]
        if lines:
            title = f"**The paper's numbers{', ' + group.name if group.name else ''}**\n\n"
            tables.append(title + markdown_table(["", *(c.heading for c in columns)], lines))
    parts += tables
    for more in experiment.more:
        lines = [[str(cell) for cell in line] for line in more["lines"]]
        parts.append(f"**{more['title']}**\n\n" + markdown_table(more["head"], lines))
    absent = [f"- {row.name}: {row.note}" for row in experiment.rows if row.note]
    return [*parts, "\n".join(absent)]


def _verdict(selection: Selection) -> list[str]:
    experiment = selection.experiment
    lines, reasons = [], []
    for number, claim in enumerate(experiment.claims, start=1):
        found = verdicts(selection, claim)
        if all(verdict.outcome == NOT_RUN for verdict in found):
            lines.append([_letter(number), "all", NOTHING, NOTHING, f"**{NOT_RUN}**"])
        else:
            lines += [_verdict_line(experiment, number, verdict) for verdict in found]
        for outcome in OUTCOMES:
            if outcome in claim.why and any(v.outcome == outcome for v in found):
                reasons.append(f"- Claim {_letter(number)} {outcome}: {claim.why[outcome]}")
    texts = [f"- {_letter(n)}: {claim.text}" for n, claim in enumerate(experiment.claims, start=1)]
    head = ["claim", "on", "ours, paired difference", "the paper's", "verdict"]
    return ["\n".join(texts), markdown_table(head, lines), "\n".join(reasons)]


def _verdict_line(experiment: Experiment, number: int, verdict: Verdict) -> list[str]:
    claim = verdict.claim
    about = ", ".join(text for text in (verdict.group, verdict.clips) if text) or NOTHING
    ours = paper = NOTHING
    if verdict.difference is not None:
        column = experiment.columns[claim.column]
        ours = verdict.difference.show(column.digits, sign=True)
        ours += f" {column.unit}" if column.unit else ""
    if verdict.paper is not None:
        paper = f"{verdict.paper:+.{experiment.columns[claim.column].digits}f}"
    return [_letter(number), about, ours, paper, f"**{verdict.outcome}**"]


def _letter(number: int) -> str:
    return chr(ord("A") + number - 1)


def _print(number: Number | None) -> str:
    # as a string in config.yaml it keeps the paper's digits: 30.30 does not become 30.3
    return NOTHING if number is None else str(number)


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
