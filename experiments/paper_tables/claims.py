"""What a paper claims, tested on our rows: paired by clip, so that how hard a clip is drops out."""

from dataclasses import dataclass

from lvis.statistics import Interval, paired
from paper_tables.config import FAILS, HOLDS, NOT_RUN, UNSEEN, Claim, Column, Number
from paper_tables.selection import CONFIDENCE, Selection


@dataclass(frozen=True)
class Verdict:
    """A claim on one set of clips and group.

    Attributes:
        difference: the row that the paper has ahead minus the other, ours; None where either has no number.
        paper: the same of the paper's numbers.
    """

    claim: Claim
    clips: str
    group: str
    outcome: str
    difference: Interval | None
    paper: float | None


def verdicts(selection: Selection, claim: Claim) -> list[Verdict]:
    """`claim` on every set of clips and group that it is about.

    It holds where the 95 % interval of the paired difference lies on the paper's side of zero, does not where it
    lies on the other, and cannot be seen where it includes zero, has one clip only, or where both rows were run
    and the column is measured in none of one's clips.
    """
    if claim.outcome:
        return [Verdict(claim, "", "", claim.outcome, None, None)]
    experiment = selection.experiment
    column = experiment.columns[claim.column]
    lines = {line.id: line for line in experiment.rows}
    groups = [group for group in experiment.groups if group.id in claim.groups]
    found = []
    for clips in selection.clip_sets() or [""]:
        for group in groups:
            first, second = (
                selection.values(clips, group, lines[name], column)
                for name in (claim.ahead, claim.behind)
            )
            difference = paired(first, second, CONFIDENCE)
            theirs = [
                experiment.paper_number(group.id, name, claim.column)
                for name in (claim.ahead, claim.behind)
            ]
            numbers = [value for value in map(exact, theirs) if value is not None]
            paper = numbers[0] - numbers[1] if len(numbers) == len(theirs) else None
            outcome = judge(difference, column)
            rows = [selection.of(clips, group, lines[name]) for name in (claim.ahead, claim.behind)]
            if all(rows) and not (first and second):
                outcome = UNSEEN
            found.append(Verdict(claim, clips, group.name, outcome, difference, paper))
    return found


def exact(number: Number | None) -> float | None:
    """A number as the paper prints it; None of "<0.02", which is a bound, and of what is not there."""
    try:
        return None if number is None else float(number)
    except ValueError:
        return None


def judge(difference: Interval | None, column: Column) -> str:
    """The outcome of a paired difference, `ahead` minus `behind`."""
    if difference is None:
        return NOT_RUN
    if not difference.excludes_zero:
        return UNSEEN
    return HOLDS if difference.mean * column.better > 0 else FAILS
